"""How Cabochon logs: configured by the application, once."""
