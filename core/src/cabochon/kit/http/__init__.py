"""For plugins that call others over HTTP."""
