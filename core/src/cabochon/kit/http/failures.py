"""Why a connection failed, in words that a person can act on, whichever library it failed in."""

from __future__ import annotations

import os
import ssl
from typing import cast

__all__ = ["network_failure"]


def network_failure(err: BaseException) -> str:
    """Say what the system or TLS said, from the innermost cause that has words of its own.

    Libraries wrap it: "All connection attempts failed" over "Connection refused". Nothing that was sent or received is
    repeated.
    """
    reason = ""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed ({cause.reason})"
        if isinstance(cause, OSError) and cause.strerror:
            # asyncio writes words of its own beside the system's number; a failed look-up of a name has a negative one.
            reason = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
        cause = cause.__cause__ or cause.__context__
    return reason or "the connection broke"
