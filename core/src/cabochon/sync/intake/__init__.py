"""From the update source to the queue."""
