"""An update's way from the source into the engine, and back as a report.

Its rooms, from the ground up: `rules`, `desired`, `outcome`, `engine`, `backup`, `intake`; above them what builds and
runs one sync. Imports run down only.
Not here: plugins by name, environment variables, HTTP.
"""
