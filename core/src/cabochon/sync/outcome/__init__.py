"""What follows when an update has ended: reports, traces, callers, retries and follow-ups.

Here: what is told, and to whom.
Not here: whether something landed, which `engine` knows, and when it is tried again, which `rules` decides.
"""
