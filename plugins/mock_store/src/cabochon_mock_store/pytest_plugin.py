"""Pytest fixtures for testing against the in-memory policy store."""
