"""What this plugin offers: the in-memory policy store `MOCK`."""
