"""Several servers as one: their update log in Redis."""

__version__ = "0.1.0"
