"""Environment variables: the models, the core's own settings, every setting on one page.

Here: reading and showing settings. Whatever runs takes the values it needs, made once where the process begins.
Not here: anything that acts on a setting, and settings of plugins.
"""
