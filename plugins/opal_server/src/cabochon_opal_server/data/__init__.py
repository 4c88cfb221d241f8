"""Publishing data updates, and the base data sources."""
