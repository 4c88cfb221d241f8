"""An in-memory policy store for offline tests, and the pytest fixtures that go with it."""

__version__ = "0.1.0"
