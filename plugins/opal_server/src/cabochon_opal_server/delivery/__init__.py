"""Who has what: agents, and how far each has come."""
