"""HookOS is up, and its agent does not run, does not get through, or gets no work."""
