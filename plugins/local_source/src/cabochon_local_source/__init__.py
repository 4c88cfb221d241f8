"""An update source that needs no server."""

__version__ = "0.1.0"
