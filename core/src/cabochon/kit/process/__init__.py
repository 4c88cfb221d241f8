"""For plugins that run an engine as a process."""
