"""Where a document lives and what it holds: paths, raw JSON, patches. No I/O; knows no engine."""
