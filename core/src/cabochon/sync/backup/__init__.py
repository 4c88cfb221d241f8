"""What an agent keeps in a file, so that it can start without its server.

Here: writing the desired state down, and bringing it back.
Not here: what should be in it, which `desired` decides.
"""
