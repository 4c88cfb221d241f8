"""`GET /policy-store/config`: where the policy store is and how to get in, as the peer answers it.

Whoever may ask learns the credentials, unless `OPAL_EXCLUDE_POLICY_STORE_SECRETS` is set. So the plugin that hosts the
routes must let in only who shows a JWT of a listener, as the peer does, wherever JWTs are in use; nothing here checks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import msgspec
from pydantic import Field, SecretStr

from cabochon import AgentContext, AsgiApp, HttpRoutesType
from cabochon.urls import masked_url
from cabochon_opa.settings import OpaStoreSettings

__all__ = ["DetailsSettings", "PolicyStoreDetails", "details_of", "policy_store_routes"]

_MOUNT_PATH, _PATH = "/policy-store", "/config"
_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]


class DetailsSettings(OpaStoreSettings):
    """The store's settings, and whether its secrets may be shown."""

    exclude_secrets: bool = Field(
        default=False,
        validation_alias="OPAL_EXCLUDE_POLICY_STORE_SECRETS",
        description="Leave token, client secret and a password in the URL out of GET /policy-store/config.",
    )


class PolicyStoreDetails(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What the peer's clients expect: names, order, and no member that is not set."""

    type: str
    url: str
    token: str | None = None
    auth_type: str
    oauth_client_id: str | None = None
    oauth_client_secret: str | None = None
    oauth_server: str | None = None


def details_of(settings: DetailsSettings) -> PolicyStoreDetails:
    """Say where the store is; without secrets if these are excluded."""
    url, token, secret = settings.policy_store_url, settings.auth_token, settings.oauth_client_secret
    if settings.exclude_secrets:
        url, token, secret = masked_url(url), None, None
    return PolicyStoreDetails(
        type="OPA",
        url=url,
        auth_type=settings.auth_type,
        token=_plain(token),
        oauth_client_id=settings.oauth_client_id,
        oauth_client_secret=_plain(secret),
        oauth_server=settings.oauth_server,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def policy_store_routes() -> HttpRoutesType:
    """Offer the route to whichever plugin serves HTTP."""
    return HttpRoutesType(
        name="policy-store",
        summary="Where the policy store is: GET /policy-store/config",
        mount_path=_MOUNT_PATH,
        app=_app,
        stores=("OPA",),
        settings=DetailsSettings,
        openapi={_PATH: {"get": _description()}},
    )


def _description() -> dict[str, Any]:
    """Describe the route as an Operation Object of OpenAPI 3.1."""
    _, schemas = msgspec.json.schema_components([PolicyStoreDetails])
    return {
        "summary": "Where the policy store is, and how to get in",
        "description": "Without secrets if OPAL_EXCLUDE_POLICY_STORE_SECRETS is set.",
        "operationId": "get_policy_store_details",
        "tags": ["Policy Store"],
        "responses": {
            "200": {
                "description": "Its type, its URL and its credentials; what is not set is left out.",
                "content": {"application/json": {"schema": schemas[PolicyStoreDetails.__name__]}},
            }
        },
    }


def _app(settings: DetailsSettings, _agent: AgentContext) -> AsgiApp:
    body = msgspec.json.encode(details_of(settings))

    async def app(scope: _Message, _receive: object, send: _Send) -> None:
        if scope["type"] != "http":
            return
        # Servers differ in whether `path` begins with the mount path.
        path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix(_MOUNT_PATH)
        if path != _PATH:
            await _answer(send, HTTPStatus.NOT_FOUND, b'{"detail":"Not Found"}')
        elif scope["method"] != "GET":
            await _answer(send, HTTPStatus.METHOD_NOT_ALLOWED, b'{"detail":"Method Not Allowed"}')
        else:
            await _answer(send, HTTPStatus.OK, body)

    return app


async def _answer(send: _Send, status: HTTPStatus, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"GET"))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
