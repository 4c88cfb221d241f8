"""A socket that listens, for the plugins that serve HTTP."""

from __future__ import annotations

import socket

from cabochon.errors import ConfigurationError

__all__ = ["bind_tcp"]


def bind_tcp(host: str, port: int, *, setting: str, backlog: int = 128) -> socket.socket:
    """Listen on a TCP port; 0 takes any that is free.

    Args:
        host: an address, of IPv6 if it has a colon, or a name.
        port: the port.
        setting: the variable that chose the port, for the error.
        backlog: connections that may wait to be accepted.

    Raises:
        ConfigurationError: that address can't be listened on.
    """
    # With the protocol named, unlike by socket.create_server: asyncio sends small answers at once only then.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError as err:
        listener.close()
        raise ConfigurationError(
            f"{setting}={port}: can't listen on {host}:{port}: {err.strerror or err}; choose another port, or 0 "
            "for any that is free"
        ) from err
    return listener
