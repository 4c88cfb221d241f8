"""The durable log of what was published, in SQLite."""
