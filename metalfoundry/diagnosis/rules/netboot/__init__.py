"""A Workflow that waits for a machine which never reached HookOS."""
