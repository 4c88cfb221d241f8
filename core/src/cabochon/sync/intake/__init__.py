"""From the update source to the queue: updates, base data, policies, and what they fetch.

Here: every call of a source and of a fetcher.
Not here: when an update takes effect, which `rules` decides, and writing, which `engine` does.
"""
