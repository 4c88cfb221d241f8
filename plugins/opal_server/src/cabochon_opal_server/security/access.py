"""Who may do what: read off a token's claims."""

from __future__ import annotations

import hmac
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from starlette.exceptions import HTTPException

from cabochon.kit.web.tokens import TokenError, bearer_token, verified_claims
from cabochon_opal_server.scopes.scope import scopes_of
from cabochon_opal_server.security.keys import KeyPair
from cabochon_opal_server.security.settings import SecuritySettings

__all__ = ["Access", "Claims", "refused"]


_DATASOURCE = "datasource"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says of its holder.

    Attributes:
        peer_type: "client", "datasource" or "listener"; "" if it does not say, and on an open server.
        permitted_topics: the only topics it may publish and subscribe to; None for all.
        allowed_scopes: the only scopes it may read, manage and publish to; None where it names none: then it reads
            none, and manages all if it is a data source's without permitted topics.
        expires_at: when it ends, in Unix seconds.
        subject: whose token it is.
        is_open: there are no tokens here: everyone may do everything.
    """

    peer_type: str = ""
    permitted_topics: frozenset[str] | None = None
    allowed_scopes: frozenset[str] | None = None
    expires_at: float = math.inf
    subject: str = ""
    is_open: bool = False

    def may_subscribe(self, topics: Collection[str]) -> bool:
        """Tell whether all of these topics may be followed."""
        return self.permitted_topics is None or self.permitted_topics.issuperset(topics)

    def may_read(self, scope: str) -> bool:
        """Tell whether policies and base data of a scope may be read."""
        return self.is_open or scope in (self.allowed_scopes or ())

    def may_manage(self, scope: str | None) -> bool:
        """Tell whether a scope may be shown, changed and deleted; None stands for all of them at once."""
        if self.is_open or self.peer_type != _DATASOURCE:
            return self.is_open
        if self.allowed_scopes is not None:
            return scope in self.allowed_scopes
        return self.permitted_topics is None

    def may_publish(self, topics: Collection[str]) -> bool:
        """Tell whether data may be published to all of these topics: clients and listeners may not at all.

        Who is limited to scopes may publish to topics outside of them only if its permitted topics name these.
        """
        if self.is_open or self.peer_type != _DATASOURCE:
            return self.is_open
        if self.allowed_scopes is not None:
            outside = self.permitted_topics is None and not all(scopes_of([topic]) for topic in topics)
            if outside or not self.allowed_scopes.issuperset(scopes_of(topics)):
                return False
        return self.may_subscribe(topics)

    def may_publish_in(self, scope: str, topics: Collection[str]) -> bool:
        """Tell whether data may be published to these topics of a scope.

        Who is limited to topics needs them by their whole names, `blue:data:users`; or as they are called in the scope,
        if it is limited to scopes as well.
        """
        if self.is_open or self.peer_type != _DATASOURCE:
            return self.is_open
        if self.allowed_scopes is not None and scope not in self.allowed_scopes:
            return False
        permitted = self.permitted_topics
        if permitted is None:
            return True
        within = self.allowed_scopes is not None
        return all(f"{scope}:data:{topic}" in permitted or (within and topic in permitted) for topic in topics)


class Access:
    """Checks tokens; with no keys everyone is let in."""

    def __init__(self, settings: SecuritySettings, keys: KeyPair | None) -> None:
        self._settings = settings
        self._keys = keys

    @property
    def is_open(self) -> bool:
        """Whether everyone is let in."""
        return self._keys is None

    def claims(self, authorization: str | None) -> Claims:
        """Return what the token of an Authorization header says; HTTPException 401 if it is no good."""
        if self._keys is None:
            return Claims(is_open=True)
        try:
            found = verified_claims(bearer_token(authorization), self._keys.public, self._settings)
            return Claims(
                peer_type=str(found.get("peer_type", "")),
                permitted_topics=_texts(found, "permitted_topics"),
                allowed_scopes=_texts(found, "allowed_scopes"),
                expires_at=float(found["exp"]),
                subject=str(found["sub"]),
            )
        except TokenError as err:
            raise refused(str(err)) from err

    def is_master(self, authorization: str | None) -> bool:
        """Tell whether a header holds the master token; where none is set, nobody has it."""
        master = self._settings.master_token
        token = bearer_token(authorization)
        if master is None or token is None:
            return False
        return hmac.compare_digest(token.encode(), master.get_secret_value().encode())


def refused(why: str) -> HTTPException:
    """Make the 401 in the peer's shape; it adds the token itself, which is nobody's business."""
    detail: Any = {"error": why}
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


def _texts(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    texts: object = claims.get(name)
    if texts is None:
        return None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in cast("list[object]", texts)):
        raise TokenError(f"invalid {name} claim")
    return frozenset(cast("list[str]", texts))
