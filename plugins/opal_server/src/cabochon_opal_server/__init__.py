"""Publishes policy and data updates to agents and OPAL clients, and knows who has what."""

__version__ = "0.1.0"
