"""What one HTTP connection may cost."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HttpLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one connection may cost.

    Attributes:
        head_bytes: of the request line and headers.
        headers: how many.
        head_s: seconds from the first byte of a request, or from the connection's begin, to the end of its head.
        body_bytes_s: a body has to come at this rate at least, in bytes per second.
        send_s: seconds in which a client must read something of what waits for it.
    """

    head_bytes: int = 64 * 1024
    headers: int = 128
    head_s: float = 10.0
    body_bytes_s: int = 1024
    send_s: float = 30.0
