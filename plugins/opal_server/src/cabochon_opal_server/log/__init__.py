"""The durable log of what was published: kept in SQLite, followed live, compacted and trimmed."""
