"""A fetcher for data update entries behind `http` and `https` URLs."""

__version__ = "0.1.0"
