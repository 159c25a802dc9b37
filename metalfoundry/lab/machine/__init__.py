"""A machine that boots: firmware, disk, HookOS with its agent, the programs on its PATH."""
