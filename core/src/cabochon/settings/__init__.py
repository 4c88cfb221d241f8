"""Environment variables: the models, the core's own settings, every setting on one page."""
