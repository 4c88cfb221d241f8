"""Who is let in where: what routes and the WebSocket ask before they do anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from websockets.datastructures import Headers

from cabochon.kit.web.pages import PageGuard
from cabochon_opal_server.pubsub.endpoint import ROUTE
from cabochon_opal_server.pubsub.session import Permissions
from cabochon_opal_server.scopes.scope import scopes_of
from cabochon_opal_server.security.access import Access, Claims, refused

__all__ = ["Permits"]

log = structlog.get_logger()

_TOPICS_REMEMBERED = 256
_NOT_THIS_SCOPE = "this token's allowed_scopes do not have this scope"


class Permits:
    """Lets a request pass, or raises the HTTPException that it is to be answered with.

    Args:
        access: checks tokens.
        has_scopes: whether topics of a scope are only for who may read it.
    """

    def __init__(self, access: Access, *, has_scopes: bool) -> None:
        self._access = access
        self._has_scopes = has_scopes

    def enter(self, request: Request) -> None:
        """Let everyone pass whose token is good."""
        self._claims(request)

    def publish(self, request: Request, topics: Sequence[str]) -> None:
        """Let those pass who may publish data to all of these topics."""
        claims = self._claims(request)
        if not claims.may_publish(topics):
            log.warning("data_update.refused", peer_type=claims.peer_type, topics=sorted(set(topics))[:20])
            raise refused("this token may not publish to these topics: a datasource's token is needed")

    def manage(self, request: Request, scope: str | None) -> None:
        """Let those pass who may show and change this scope, or all of them if it is None."""
        claims = self._claims(request)
        if not (claims.is_open or claims.peer_type == "datasource"):
            raise refused("a datasource's token is needed")
        if not claims.may_manage(scope):
            raise HTTPException(403, _NOT_THIS_SCOPE if scope is not None else "this token is limited to some scopes")

    def manageable(self, request: Request) -> Callable[[str], bool]:
        """Let data sources pass; what is returned tells which scopes they may be shown."""
        claims = self._claims(request)
        if not (claims.is_open or claims.peer_type == "datasource"):
            raise refused("a datasource's token is needed")
        return claims.may_manage

    def publish_in(self, request: Request, scope: str, topics: Sequence[str]) -> None:
        """Let those pass who may publish data to all of these topics of a scope."""
        claims = self._claims(request)
        if not claims.may_publish_in(scope, topics):
            log.warning("data_update.refused", peer_type=claims.peer_type, topics=sorted(set(topics))[:20], scope=scope)
            raise refused("this token may not publish to these topics of this scope: a datasource's token is needed")

    def read(self, request: Request, scope: str) -> None:
        """Let those pass who may read this scope."""
        if not self._claims(request).may_read(scope):
            raise HTTPException(403, _NOT_THIS_SCOPE)

    def over_websocket(self, pages: PageGuard, headers: Headers) -> Permissions:
        """Say what an Authorization header allows for as long as its connection lasts; no page opens one."""
        raw = ((name.lower().encode(), value.encode("ascii", "surrogateescape")) for name, value in headers.raw_items())
        fault = pages.fault(ROUTE, raw)
        if fault is not None:
            raise HTTPException(403, fault)
        claims = self._access.claims(headers.get("Authorization"))
        return Permissions(
            subscribe=partial(self._may_subscribe, claims),
            publish=claims.may_publish,
            sees=self._sees(claims),
            expires_at=claims.expires_at,
            holder=claims.subject,
        )

    def visible(self, request: Request) -> Callable[[str], bool] | None:
        """Let everyone pass whose token is good; tell which topics it may follow, None for all."""
        return self._sees(self._claims(request))

    def _sees(self, claims: Claims) -> Callable[[str], bool] | None:
        if claims.is_open or (claims.permitted_topics is None and not self._has_scopes):
            return None

        @lru_cache(_TOPICS_REMEMBERED)
        def sees(topic: str) -> bool:
            """Tell it quickly: it is asked for each topic of each update."""
            return self._may_subscribe(claims, (topic,))

        return sees

    def _claims(self, request: Request) -> Claims:
        return self._access.claims(request.headers.get("authorization"))

    def _may_subscribe(self, claims: Claims, topics: Sequence[str]) -> bool:
        # What is published to a scope is no more for everyone than its policies and base data are.
        scopes = scopes_of(topics) if self._has_scopes else ()
        return claims.may_subscribe(topics) and all(claims.may_read(scope) for scope in scopes)
