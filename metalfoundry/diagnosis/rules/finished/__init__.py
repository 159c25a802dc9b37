"""The Workflow is over, or as good as over: its end was lost, the machine is not what it should be, or all is well."""
