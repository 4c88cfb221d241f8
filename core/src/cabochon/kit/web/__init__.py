"""For plugins that serve HTTP: sockets, the server, tokens, pages of metrics and of the API.

Here: what any web face needs. `cabochon[web]` brings the libraries.
Not here: routes of one plugin.
"""
