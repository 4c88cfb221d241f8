"""Tokens: made for who has the master token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cabochon_opal_server.security.keys import KeyPair
from cabochon_opal_server.security.settings import SecuritySettings

__all__ = ["signed_token", "utc_now"]


def signed_token(
    settings: SecuritySettings,
    keys: KeyPair,
    *,
    subject: UUID,
    lifetime: timedelta,
    claims: Mapping[str, Any],
    now: datetime,
) -> str:
    """Sign a JSON Web Token (RFC 7519) with the claims of the peer's: `iat`, `exp`, `aud`, `iss`, `sub`, and `claims`.

    Raises:
        OverflowError: it would end after the last year that there is.
    """
    import jwt  # noqa: PLC0415 - only servers with keys pay for it

    payload: dict[str, Any] = {
        "iat": now,
        "exp": now + lifetime,
        "aud": settings.audience,
        "iss": settings.issuer,
        "sub": subject.hex,
        **claims,
    }
    return jwt.encode(payload, keys.private, algorithm=settings.algorithm)


def utc_now() -> datetime:
    """Return the time, in whole seconds, as tokens have it."""
    return datetime.now(UTC).replace(microsecond=0)
