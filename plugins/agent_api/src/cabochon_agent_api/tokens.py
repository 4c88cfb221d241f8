"""Who may use the protected routes: whoever shows a JWT of a listener, as the peer's server issues them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException

from cabochon.kit.web.tokens import TokenError, bearer_token, verified_claims
from cabochon_agent_api.settings import AgentApiSettings

__all__ = ["Guard", "open_to_all", "verifier"]

Guard = Callable[[str | None], None]
"""Takes an Authorization header and raises HTTPException 401 unless its token may use the protected routes."""

_LISTENER = "listener"


def open_to_all(authorization: str | None) -> None:
    """Let everyone in: for an agent without a public key."""


def verifier(settings: AgentApiSettings, key: Any) -> Guard:  # noqa: ANN401 - one of cryptography's public keys
    """Make the guard that checks tokens with this key."""

    def guard(authorization: str | None) -> None:
        try:
            claims = verified_claims(bearer_token(authorization), key, settings)
        except TokenError as err:
            raise _refused(str(err)) from err
        if claims.get("peer_type") != _LISTENER:
            raise _refused(f"the token must be of type {_LISTENER}, and is not")

    return guard


def _refused(why: str) -> HTTPException:
    """Make the 401 in the peer's shape; it adds the token itself, which is nobody's business."""
    detail: Any = {"error": why}
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})
