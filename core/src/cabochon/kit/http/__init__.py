"""For plugins that call others over HTTP: an engine's client, credentials, TLS, what failures and answers mean.

Here: what any HTTP API needs. `cabochon[http]` brings the libraries.
Not here: the API of one engine or service.
"""
