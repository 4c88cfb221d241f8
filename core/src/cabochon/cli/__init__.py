"""The `cabochon` command: one module for each of its commands."""
