"""Traces of updates, sent to OpenTelemetry."""

__version__ = "0.1.0"
