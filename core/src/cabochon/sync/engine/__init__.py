"""From the queue into the policy store, and an engine that goes away or comes back empty."""
