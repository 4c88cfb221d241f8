"""What is written, what became of it, and what the stream of it amounts to: ready, healthy, in_sync."""
