"""For plugins that serve HTTP."""
