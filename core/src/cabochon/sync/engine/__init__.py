"""From the queue into the policy store, and an engine that goes away or comes back empty.

Here: every call of `commit` and `health`, and what is known of the engine because of it.
Not here: where updates come from, and what is told of their end.
"""
