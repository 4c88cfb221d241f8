"""Who may use the protected routes: real keys, real tokens."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cabochon import ConfigurationError
from cabochon.kit.web.tokens import read_public_key
from cabochon_agent_api.settings import AgentApiSettings

from .rig import Open

PROTECTED = ("/callbacks", "/opal-server/connectivity", "/mine")
OPEN = ("/ready", "/healthy", "/docs", "/openapi.json", "/open")
Issue = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def issue(key: rsa.RSAPrivateKey) -> Issue:
    """Make headers with a token of a listener, or one that differs in some claims."""

    def headers(signed_by: rsa.RSAPrivateKey = key, **different: Any) -> dict[str, str]:
        claims = {
            "sub": uuid.uuid4().hex,
            "iss": "https://opal.ac/",
            "aud": "https://api.opal.ac/v1/",
            "exp": datetime.now(UTC) + timedelta(minutes=5),
            "peer_type": "listener",
        } | different
        present = {name: value for name, value in claims.items() if value is not None}
        return {"authorization": f"Bearer {jwt.encode(present, signed_by, 'RS256')}"}

    return headers


def ssh_key(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def pem_key(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def test_listener_may_and_nobody_else(opened: Open, key: rsa.RSAPrivateKey, issue: Issue) -> None:
    """
    The protected routes want a listener's token, the others none.
    """
    client = (await opened(OPAL_AUTH_PUBLIC_KEY=ssh_key(key))).client

    async def statuses(paths: tuple[str, ...], headers: dict[str, str]) -> set[int]:
        return {(await client.get(path, headers=headers)).status_code for path in paths}

    assert {200} == await statuses(PROTECTED, issue())
    assert {401} == await statuses(PROTECTED, {})
    assert not {401, 403} & await statuses(OPEN, {})


@pytest.mark.parametrize(
    "different",
    [
        {"peer_type": "client"},
        {"peer_type": "datasource"},
        {"peer_type": None},
        {"aud": "somebody else"},
        {"iss": "somebody else"},
        {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
        {"exp": None},
        {"sub": None},
        {"sub": "no uuid"},
        {"signed_by": rsa.generate_private_key(65537, 2048)},
    ],
    ids=lambda different: "-".join(map(str, different)),
)
async def test_wrong_token_is_refused(
    opened: Open, key: rsa.RSAPrivateKey, issue: Issue, different: dict[str, Any]
) -> None:
    """
    In the peer's shape, and without showing the token.
    """
    headers = issue(**different)
    client = (await opened(OPAL_AUTH_PUBLIC_KEY=ssh_key(key))).client

    answer = await client.get("/callbacks", headers=headers)

    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])
    assert ["error"] == list(answer.json()["detail"])
    assert headers["authorization"].split()[1] not in answer.text


async def test_token_that_never_expires_is_told_why(opened: Open, key: rsa.RSAPrivateKey, issue: Issue) -> None:
    """
    OPAL takes it, so whoever moves here has to know.
    """
    client = (await opened(OPAL_AUTH_PUBLIC_KEY=ssh_key(key))).client

    detail = (await client.get("/callbacks", headers=issue(exp=None))).json()["detail"]

    assert "Invalid access token: it has no claim exp" == detail["error"]


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Bearer not.a.token"])
async def test_header_that_is_no_token_is_refused(opened: Open, key: rsa.RSAPrivateKey, header: str) -> None:
    """
    Whatever it is.
    """
    client = (await opened(OPAL_AUTH_PUBLIC_KEY=ssh_key(key))).client

    assert 401 == (await client.get("/callbacks", headers={"authorization": header})).status_code


def test_key_comes_in_every_form_that_the_peer_takes(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    """
    As text, in one line with `_` for each newline, or in a file.
    """
    file = tmp_path / "key.pem"
    file.write_text(pem_key(key))
    given = [
        {"public_key": ssh_key(key)},
        {"public_key": pem_key(key), "public_key_format": "pem"},
        {"public_key": pem_key(key).replace("\n", "_"), "public_key_format": "pem"},
        {"public_key": str(file), "public_key_format": "pem"},
    ]

    assert [key.public_key()] * 4 == [read_public_key(AgentApiSettings.model_validate(one)) for one in given]


@pytest.mark.parametrize(
    "given",
    [{"public_key": "nonsense"}, {"public_key_format": "pem"}, {"algorithm": "ES256"}],
)
def test_key_that_is_none_names_the_setting(key: rsa.RSAPrivateKey, given: dict[str, str]) -> None:
    """
    And says what would be right.
    """
    settings = AgentApiSettings.model_validate({"public_key": ssh_key(key), **given})

    with pytest.raises(ConfigurationError, match="OPAL_AUTH_PUBLIC_KEY can't be used"):
        read_public_key(settings)
