"""The tasks: one file for each group, with its flags, its body and its exit code."""
