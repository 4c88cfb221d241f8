"""What follows when an update has ended: reports, traces, retries."""
