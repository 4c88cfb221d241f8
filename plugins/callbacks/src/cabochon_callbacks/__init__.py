"""A callback reporter that delivers data update reports over HTTP."""

__version__ = "0.1.0"
