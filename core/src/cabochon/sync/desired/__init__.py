"""What the engine should hold, and the changes that make it so."""
