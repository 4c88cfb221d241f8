"""Offline mode: what the agent wrote is kept on disk, and served after a restart until the source is there again."""
