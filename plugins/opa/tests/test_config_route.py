"""`GET /policy-store/config` answers what the peer's clients expect."""

from __future__ import annotations

from typing import Any, cast

import httpx
import pytest

from cabochon import AgentContext, Plugins
from cabochon.settings.core import load_settings
from cabochon_opa.config_route import DetailsSettings, policy_store_routes

OAUTH = {
    "OPAL_POLICY_STORE_URL": "https://me:hidden@opa.example:8181",
    "OPAL_POLICY_STORE_AUTH_TYPE": "oauth",
    "OPAL_POLICY_STORE_AUTH_TOKEN": "the-token",
    "OPAL_POLICY_STORE_AUTH_OAUTH_SERVER": "https://login.example/token",
    "OPAL_POLICY_STORE_AUTH_OAUTH_CLIENT_ID": "agent",
    "OPAL_POLICY_STORE_AUTH_OAUTH_CLIENT_SECRET": "the-secret",
}


async def ask(
    environ: dict[str, str], method: str = "GET", path: str = "/policy-store/config", root_path: str = "/policy-store"
) -> httpx.Response:
    routes = policy_store_routes()
    app = routes.app(load_settings(DetailsSettings, environ), cast("AgentContext", None))
    transport = httpx.ASGITransport(cast("Any", app), root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
        return await client.request(method, path)


async def test_what_is_not_set_is_left_out() -> None:
    """The answer to a client of an agent with nothing but defaults is the peer's, byte for byte."""
    answer = await ask({})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == '{"type":"OPA","url":"http://localhost:8181","auth_type":"none"}'


async def test_credentials_are_in_it() -> None:
    """As in the peer, a token too that is not in use."""
    assert (await ask(OAUTH)).json() == {
        "type": "OPA",
        "url": "https://me:hidden@opa.example:8181",
        "token": "the-token",
        "auth_type": "oauth",
        "oauth_client_id": "agent",
        "oauth_client_secret": "the-secret",
        "oauth_server": "https://login.example/token",
    }


async def test_secrets_can_be_left_out() -> None:
    """The client id is none."""
    assert (await ask({**OAUTH, "OPAL_EXCLUDE_POLICY_STORE_SECRETS": "true"})).json() == {
        "type": "OPA",
        "url": "https://opa.example:8181",
        "auth_type": "oauth",
        "oauth_client_id": "agent",
        "oauth_server": "https://login.example/token",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/policy-store/config", 405),
        ("GET", "/policy-store", 404),
        ("GET", "/policy-store/config/more", 404),
    ],
)
async def test_there_is_nothing_else(method: str, path: str, status: int) -> None:
    """Other paths and methods are refused as usual."""
    assert (await ask({}, method, path)).status_code == status


async def test_a_server_that_takes_the_mount_path_off_is_served_too() -> None:
    """ASGI servers do the one or the other."""
    assert (await ask({}, path="/config", root_path="")).status_code == 200


def test_the_plugin_offers_it_with_opa_alone() -> None:
    """Another store has no credentials of OPA's to show."""
    plugins = Plugins.load()

    assert "policy-store" in [one.name for one in plugins.http_routes_for("OPA")]
    assert "policy-store" not in [one.name for one in plugins.http_routes_for("MOCK")]
