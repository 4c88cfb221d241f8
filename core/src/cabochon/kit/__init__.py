"""What plugins share, and the sync itself does not use."""
