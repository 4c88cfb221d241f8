"""What is written, what became of it, and what the stream of it amounts to: ready, healthy, in_sync.

Here: frozen values and pure functions.
Not here: how an engine is reached, and how updates are ordered.
"""
