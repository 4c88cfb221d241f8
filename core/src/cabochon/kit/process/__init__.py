"""For plugins that run an engine as a child process: started, watched, restarted, ended with its parent.

Here: processes in general.
Not here: the command line of one engine.
"""
