"""What plugins implement and what they are given: one module for each of the nine hooks."""
