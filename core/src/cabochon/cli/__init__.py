"""The `cabochon` command: one module for each of its commands.

Here: arguments, what is printed, exit codes.
Not here: anything that another program would want to call.
"""
