"""Which plugins are installed, what they offer, which of it is meant."""
