"""Keeps OpenFGA in sync: the policy store `OPENFGA`."""

__version__ = "0.1.0"
