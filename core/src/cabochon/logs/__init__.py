"""How an application logs: set up once, where its process begins.

Here: renderers and files of the log.
Not here: what is logged. Whoever has something to say takes structlog and needs nothing of this room.
"""
