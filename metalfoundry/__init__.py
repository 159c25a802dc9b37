"""Re-install bare-metal servers through Tinkerbell, over SSH."""
