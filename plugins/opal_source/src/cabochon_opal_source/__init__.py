"""An update source that follows an OPAL server."""

__version__ = "0.1.0"
