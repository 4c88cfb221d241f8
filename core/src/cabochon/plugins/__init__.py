"""Which plugins are installed, what they offer, which of it is meant.

Here: loading entry points, asking hooks one by one under a guard, choosing by name.
Not here: opening what was chosen, which is the agent's.
"""
