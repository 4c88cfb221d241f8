"""Who is told: WebSocket connections, their topics, what goes to whom."""
