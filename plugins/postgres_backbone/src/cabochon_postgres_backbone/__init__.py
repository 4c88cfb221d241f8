"""Several servers as one: their update log in PostgreSQL."""

__version__ = "0.1.0"
