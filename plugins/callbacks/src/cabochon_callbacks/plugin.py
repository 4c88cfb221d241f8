"""What this plugin offers: the callback reporter for HTTP callbacks."""
