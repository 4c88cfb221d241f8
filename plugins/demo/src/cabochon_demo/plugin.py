"""What this plugin offers: the command `cabochon demo`."""
