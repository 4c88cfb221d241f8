"""What plugins implement and what they are given: one module for each hook.

Here: registrations, abstract base classes, protocols, and the frozen records they speak of.
Not here: anything that waits or reaches outside the process. An implementation belongs to `sync`, `agent` or a plugin.
"""
