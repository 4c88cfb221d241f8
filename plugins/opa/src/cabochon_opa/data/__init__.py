"""Documents into OPA: one atomic patch for each commit."""
