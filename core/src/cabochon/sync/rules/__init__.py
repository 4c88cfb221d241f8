"""The rules of the data flow: order, retries, records. Pure: no clock, no tasks, no I/O."""
