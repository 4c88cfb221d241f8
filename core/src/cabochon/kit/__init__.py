"""What several plugins share, and the sync itself does not use.

Here: parts that would stand as well in a distribution of their own; what needs a library beyond the core's says which
extra brings it.
Not here: anything that the sync imports, and anything that only one plugin needs.
"""
