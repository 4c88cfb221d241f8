"""The rules of the data flow: order, retries, copies, records.

Here: decisions and their books, driven by whoever has a clock.
Not here: clocks, tasks, I/O, and the engine.
"""
