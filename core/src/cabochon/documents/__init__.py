"""Where a document lives and what it holds: paths, raw JSON, trees, patches.

Here: pure functions and values, on bytes and JSON.
Not here: I/O, and anything that knows of updates, transactions or engines.
"""
