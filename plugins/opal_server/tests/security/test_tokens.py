"""Tokens: who gets them, and who may do what with which."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import rsa
from websockets.exceptions import InvalidStatus

from cabochon import ConfigurationError
from cabochon_opal_server.commands.server_cli import server as command

from ..rig import Rig, running  # noqa: TID252 - the rig of these tests

MASTER = "the-master-token"
AUDIENCE = "https://api.opal.ac/v1/"
ENTRY = {"url": "", "dst_path": "/x", "data": 1}


def pair(passphrase: str | None = None) -> dict[str, str]:
    """A new pair of keys, as variables."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    locked = forms.NoEncryption() if passphrase is None else forms.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.TraditionalOpenSSL, locked).decode()
    public = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH).decode()
    return {"OPAL_AUTH_PRIVATE_KEY": private.replace("\n", "_"), "OPAL_AUTH_PUBLIC_KEY": public}


KEYS = pair()


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncGenerator[Rig]:
    async with running(tmp_path, {**KEYS, "OPAL_AUTH_MASTER_TOKEN": MASTER, "OPAL_STATISTICS_ENABLED": "true"}) as rig:
        yield rig


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def made(rig: Rig, kind: str, **more: Any) -> str:
    """Get a token."""
    answer = await rig.http.post("/token", json={"type": kind, **more}, headers=bearer(MASTER))
    assert 200 == answer.status_code, answer.text
    return answer.json()["token"]


# ------------------------------------------------------------------------------------------------------- the routes


@pytest.mark.parametrize("kind", ["client", "datasource", "listener"])
async def test_token_has_the_claims_of_opal_s_and_is_verified_by_the_key_set(secured: Rig, kind: str) -> None:
    answer = (await secured.http.post("/token", json={"type": kind, "ttl": "P1D"}, headers=bearer(MASTER))).json()
    assert ("bearer", kind) == (answer["type"], answer["details"]["type"])
    (key,) = (await secured.http.get("/.well-known/jwks.json")).json()["keys"]
    claims = jwt.decode(answer["token"], jwt.PyJWK(key, "RS256"), algorithms=["RS256"], audience=AUDIENCE)
    assert {"iat", "exp", "aud", "iss", "sub", "peer_type"} == claims.keys()
    assert (86_400, kind, "https://opal.ac/") == (claims["exp"] - claims["iat"], claims["peer_type"], claims["iss"])
    assert claims["sub"] == answer["details"]["id"].replace("-", "")


@pytest.mark.parametrize(("ttl", "seconds"), [(60, 60), ("60", 60), ("PT1H", 3600), (1.0, 1), ("P365D", 365 * 86_400)])
async def test_lifetime_is_seconds_or_a_duration(secured: Rig, ttl: object, seconds: int) -> None:
    claims = jwt.decode(await made(secured, "client", ttl=ttl), options={"verify_signature": False})
    assert seconds == claims["exp"] - claims["iat"]


@pytest.mark.parametrize(
    "body", [{"type": "emperor"}, {"ttl": "soon"}, {"ttl": []}, {"ttl": "P99999999D"}, {"id": "7"}, {"claims": 7}, []]
)
async def test_request_that_makes_no_sense_is_422(secured: Rig, body: object) -> None:
    assert 422 == (await secured.http.post("/token", json=body, headers=bearer(MASTER))).status_code


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), {"Authorization": MASTER}])
async def test_token_needs_the_master_token(secured: Rig, headers: dict[str, str]) -> None:
    answer = await secured.http.post("/token", json={}, headers=headers)
    assert 401 == answer.status_code
    assert MASTER not in answer.text


async def test_other_tokens_do_not_make_tokens(secured: Rig) -> None:
    token = await made(secured, "datasource")
    assert 401 == (await secured.http.post("/token", json={}, headers=bearer(token))).status_code


async def test_without_a_master_token_nobody_makes_tokens(tmp_path: Path) -> None:
    async with running(tmp_path, KEYS) as rig:
        for headers in ({}, bearer("None")):
            assert 401 == (await rig.http.post("/token", json={}, headers=headers)).status_code


async def test_open_server_has_no_tokens(rig: Rig) -> None:
    assert 503 == (await rig.http.post("/token", json={}, headers=bearer(MASTER))).status_code
    assert {"keys": []} == (await rig.http.get("/.well-known/jwks.json")).json()


# -------------------------------------------------------------------------------------------------------- who may what

PROTECTED = [
    ("GET", "/data/config"),
    ("POST", "/data/config"),
    ("POST", "/data/callback_report"),
    ("GET", "/policy"),
    ("GET", "/pubsub_client_info"),
    ("GET", "/statistics"),
    ("GET", "/agents"),
    ("GET", "/updates/1"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_every_protected_route_wants_a_token(secured: Rig, method: str, path: str) -> None:
    other = jwt.encode({"peer_type": "client"}, "x" * 32, algorithm="HS256")
    for headers in ({}, bearer("no.token.this"), bearer(other), bearer(MASTER)):
        assert 401 == (await secured.http.request(method, path, json={}, headers=headers)).status_code
    headers = bearer(await made(secured, "datasource"))
    assert 401 != (await secured.http.request(method, path, json={}, headers=headers)).status_code


async def test_expired_token_is_refused(secured: Rig) -> None:
    token = await made(secured, "datasource", ttl=-10)
    assert 401 == (await secured.http.get("/data/config", headers=bearer(token))).status_code


async def test_only_data_sources_publish_over_http(secured: Rig) -> None:
    for kind, status in (("client", 401), ("listener", 401), ("datasource", 200)):
        headers = bearer(await made(secured, kind))
        answer = await secured.http.post("/data/config", json={"entries": [ENTRY]}, headers=headers)
        assert status == answer.status_code, kind


async def test_permitted_topics_limit_who_publishes_and_who_follows(secured: Rig) -> None:
    claims = {"permitted_topics": ["users"]}
    headers = bearer(await made(secured, "datasource", claims=claims))
    for topics, status in ((["users"], 200), (["orders"], 401), (["users", "orders"], 401)):
        body = {"entries": [{**ENTRY, "topics": topics}]}
        assert status == (await secured.http.post("/data/config", json=body, headers=headers)).status_code, topics
    socket = await secured.socket(bearer(await made(secured, "client", claims=claims)))
    assert await socket.call("subscribe", {"topics": ["users"]}) is True
    assert await socket.call("subscribe", {"topics": ["orders"]}) is not True


async def test_client_can_not_forge_an_update(secured: Rig) -> None:
    """The peer lets every client's token do this: any agent could then write into every engine."""
    follower = await secured.socket(bearer(await made(secured, "client")))
    await follower.call("subscribe", {"topics": ["policy_data"]})
    forged = {
        "topics": ["policy_data"],
        "data": {"id": "forged", "entries": [ENTRY]},
        "sync": True,
        "notifier_id": None,
    }
    for kind in ("client", "listener"):
        socket = await secured.socket(bearer(await made(secured, kind)))
        assert await socket.call("publish", forged) is not True
    headers = bearer(await made(secured, "datasource"))
    await secured.http.post("/data/config", json={"id": "real", "entries": [ENTRY]}, headers=headers)
    ((_topic, _number, data),) = await follower.noted(1)
    assert "real" == data["id"]


async def test_socket_needs_a_token(secured: Rig) -> None:
    for headers in ({}, bearer("no.token.this")):
        with pytest.raises(InvalidStatus) as refused:
            await secured.socket(headers)
        assert 403 == refused.value.response.status_code


# ------------------------------------------------------------------------------------------------------------ the keys


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"OPAL_AUTH_PRIVATE_KEY": KEYS["OPAL_AUTH_PRIVATE_KEY"]}, "OPAL_AUTH_PUBLIC_KEY"),
        ({"OPAL_AUTH_PUBLIC_KEY": KEYS["OPAL_AUTH_PUBLIC_KEY"]}, "OPAL_AUTH_PRIVATE_KEY"),
        ({**KEYS, "OPAL_AUTH_PUBLIC_KEY": pair()["OPAL_AUTH_PUBLIC_KEY"]}, "do not belong together"),
        ({**KEYS, "OPAL_AUTH_PRIVATE_KEY": "no key"}, "OPAL_AUTH_PRIVATE_KEY can't be used"),
        (pair("secret"), "OPAL_AUTH_PRIVATE_KEY_PASSPHRASE"),
        ({**KEYS, "OPAL_AUTH_JWT_ALGORITHM": "ES256"}, "OPAL_AUTH_JWT_ALGORITHM"),
    ],
)
async def test_keys_that_are_no_good_stop_the_server(tmp_path: Path, environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as stopped:
        async with running(tmp_path, environ):
            pass
    assert "BEGIN" not in str(stopped.value)


async def test_encrypted_key_is_opened_with_its_passphrase(tmp_path: Path) -> None:
    environ = {**pair("secret"), "OPAL_AUTH_PRIVATE_KEY_PASSPHRASE": "secret", "OPAL_AUTH_MASTER_TOKEN": MASTER}
    async with running(tmp_path, environ) as rig:
        assert await made(rig, "client")


# -------------------------------------------------------------------------------------------------------- the commands


def invoked(*arguments: str) -> Any:  # noqa: ANN401 - click's result
    # click keeps the help option that it was asked for first, and the pages of the documentation have this one.
    return CliRunner().invoke(command, arguments, help_option_names=["-h", "--help"])


def test_secrets_are_long_and_never_the_same() -> None:
    made = {invoked("generate-secret").output for _ in range(10)}
    assert 10 == len(made)
    assert all(len(secret) > 40 for secret in made)
    assert 2 * 64 == len(invoked("generate-secret", "--size", "64", "--format", "hex").output.strip())
    assert 2 == invoked("generate-secret", "--size", "4").exit_code


async def test_token_is_obtained_by_command(secured: Rig) -> None:
    import anyio.to_thread  # noqa: PLC0415 - for the command, which blocks

    def ask(*arguments: str) -> Any:  # noqa: ANN401 - click's result
        return invoked("obtain-token", *arguments, "--server-url", f"http://{secured.url}")

    good = await anyio.to_thread.run_sync(ask, MASTER, "--type", "listener", "--ttl", "2", "hours")
    # The server of this test logs to the same output.
    claims = jwt.decode(good.output.split()[-1], options={"verify_signature": False})
    assert ("listener", 7200) == (claims["peer_type"], claims["exp"] - claims["iat"])
    bad = await anyio.to_thread.run_sync(ask, "wrong")
    assert bad.exit_code != 0
    assert "401" in str(bad.exception)
