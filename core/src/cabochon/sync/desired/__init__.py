"""What the engine should hold, and the changes that make it so.

Here: documents, facts and policies with their owners, and how to undo what was refused.
Not here: clocks, tasks, I/O, and how the changes reach the engine.
"""
