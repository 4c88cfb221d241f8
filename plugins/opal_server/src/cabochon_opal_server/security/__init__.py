"""Who may do what: keys, tokens, claims."""
