"""What this plugin offers: the update source `local`."""
