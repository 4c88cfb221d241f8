"""Keep policy engines in sync, every engine a plugin."""

__version__ = "0.1.0"
