"""The HTTP routes of tokens: make one, verify those of this server."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
import structlog
from msgspec import Struct, field
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cabochon_opal_server.security.access import Access, refused
from cabochon_opal_server.security.keys import KeyPair
from cabochon_opal_server.security.settings import SecuritySettings
from cabochon_opal_server.security.tokens import signed_token, utc_now
from cabochon_opal_server.web.answers import json_answer, operation, unprocessable
from cabochon_opal_server.web.bodies import body_as

__all__ = ["openapi", "routes"]

log = structlog.get_logger()

# Seconds, or a duration of ISO 8601; msgspec reads only the second.
_TTL = TypeAdapter(timedelta)
_NUMBER = re.compile(r"-?\d{1,12}(\.\d+)?", re.ASCII)


class _TokenRequest(Struct, frozen=True, kw_only=True):
    """The peer's `AccessTokenRequest`."""

    id: UUID = field(default_factory=uuid4)
    type: Literal["client", "datasource", "listener"] = "client"
    ttl: Any = timedelta(days=365)
    claims: dict[str, Any] = field(default_factory=dict[str, Any])


def routes(settings: SecuritySettings, access: Access, keys: KeyPair | None) -> list[Route]:
    """Make the routes; without keys there are no tokens, and the key set is empty."""
    key_set: dict[str, list[dict[str, Any]]] = {"keys": [] if keys is None else [keys.jwk]}

    async def token(request: Request) -> Response:
        if keys is None:
            raise HTTPException(503, "there are no tokens here: OPAL_AUTH_PRIVATE_KEY is not set")
        if not access.is_master(request.headers.get("authorization")):
            log.warning("token.refused", address=request.client.host if request.client is not None else None)
            raise refused("the master token is needed: OPAL_AUTH_MASTER_TOKEN")
        wanted = await body_as(_TokenRequest, request)
        return json_answer(_made(settings, keys, wanted))

    async def jwks(_request: Request) -> Response:
        return json_answer(key_set)

    return [Route("/token", token, methods=["POST"]), Route(settings.jwks_url, jwks, methods=["GET"])]


def _made(settings: SecuritySettings, keys: KeyPair, wanted: _TokenRequest) -> dict[str, Any]:
    now = utc_now()
    claims = {"peer_type": wanted.type, **wanted.claims}
    try:
        lifetime = _TTL.validate_python(_seconds(wanted.ttl))
        expires_at = now + lifetime
        token = signed_token(settings, keys, subject=wanted.id, lifetime=lifetime, claims=claims, now=now)
    except (ValidationError, OverflowError, TypeError, ValueError) as err:
        reason = err.errors()[0]["msg"] if isinstance(err, ValidationError) else str(err)
        raise unprocessable(f"should be seconds or an ISO 8601 duration such as P30D: {reason}", "ttl", "ttl") from err
    log.info("token.made", peer_type=wanted.type, subject=wanted.id.hex, expires_at=expires_at.isoformat())
    # The peer's times have no offset.
    details = {
        "id": wanted.id,
        "type": wanted.type,
        "expired": expires_at.replace(tzinfo=None).isoformat(),
        "claims": claims,
    }
    return {"token": token, "type": "bearer", "details": msgspec.to_builtins(details)}


def _seconds(ttl: Any) -> Any:  # noqa: ANN401 - whatever came
    """Make a number of what is written as one: the peer takes both."""
    return float(ttl) if isinstance(ttl, str) and _NUMBER.fullmatch(ttl) else ttl


def openapi(settings: SecuritySettings) -> dict[str, Any]:
    """Describe the routes, as OpenAPI 3.1 `paths`."""
    body = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "type": {"enum": ["client", "datasource", "listener"]},
            "ttl": {"description": "Seconds, or an ISO 8601 duration.", "type": ["number", "string"]},
            "claims": {"type": "object", "description": 'More claims, such as {"permitted_topics": ["users"]}.'},
        },
    }
    made = operation(
        "Security",
        "generate_new_access_token",
        "Make a token, for who has the master token",
        body=body,
        answers={"503": "OPAL_AUTH_PRIVATE_KEY is not set."},
    )
    return {
        "/token": {"post": made},
        settings.jwks_url: {
            "get": operation("Security", "jwks", "The key that tokens are verified with", protected=False)
        },
    }
