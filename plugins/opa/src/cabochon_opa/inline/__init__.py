"""Inline OPA: an OPA that the agent starts, watches and stops by itself."""
