"""A Workflow that is RUNNING, or ended as FAILED or TIMEOUT. The reason of a failure is never in the Workflow."""
