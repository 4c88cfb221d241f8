"""The `cabochon demo` command: the whole pipeline in one terminal, offline."""

__version__ = "0.1.0"
