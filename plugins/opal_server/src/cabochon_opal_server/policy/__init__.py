"""Where policies come from: a git repository or a bundle server."""
