"""What this plugin offers: the fetcher for `http` and `https` URLs."""
