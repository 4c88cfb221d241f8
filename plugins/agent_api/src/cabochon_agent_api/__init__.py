"""The HTTP face of an agent: health probes, triggers, update callbacks, metrics."""

__version__ = "0.1.0"
