"""How we prove to OpenFGA who we are: keys, a key that changes, OpenID Connect, TLS."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import SecretStr

from cabochon.errors import StoreUnavailableError
from cabochon.testing.http_server import Answer, ScriptedHttpServer
from cabochon_openfga.open_store import open_openfga_store
from cabochon_openfga.settings import OpenFgaStoreSettings
from cabochon_openfga.testing import RealOpenFga

AUDIENCE = "https://openfga.test"


async def let_in(url: str, **settings: Any) -> None:
    """Find our store, as any sync begins."""
    async with open_openfga_store(OpenFgaStoreSettings(policy_store_url=url, **settings)) as store:
        await store.restart_token()


@pytest.fixture(scope="module")
def guarded(openfga_path: Path) -> Iterator[RealOpenFga]:
    """Lets in two keys."""
    with RealOpenFga(openfga_path, "--authn-method=preshared", "--authn-preshared-keys=old,new") as running:
        yield running


@pytest.mark.parametrize("key", ["old", "new"])
async def test_a_preshared_key_lets_us_in(guarded: RealOpenFga, key: str) -> None:
    """Each of those that OpenFGA has."""
    await let_in(guarded.url, auth_type="token", auth_token=SecretStr(key))


@pytest.mark.parametrize("auth", [{}, {"auth_type": "token", "auth_token": SecretStr("stolen")}], ids=["none", "wrong"])
async def test_without_the_right_key_the_message_says_where_to_look(guarded: RealOpenFga, auth: dict[str, Any]) -> None:
    """And does not repeat the key."""
    with pytest.raises(StoreUnavailableError) as caught:
        await let_in(guarded.url, **auth)

    assert "OPAL_POLICY_STORE_AUTH_TYPE and OpenFGA's --authn-method" in str(caught.value)
    assert "stolen" not in str(caught.value)


async def test_key_in_a_file_changes_without_a_restart(openfga_path: Path, tmp_path: Path) -> None:
    """OpenFGA no longer takes the old key: the file is read again, and the request is made with the new one."""
    file = tmp_path / "key"
    file.write_text("first\n")
    keys = ("--authn-method=preshared", "--authn-preshared-keys=first")
    with RealOpenFga(openfga_path, *keys, sqlite=tmp_path / "openfga.db") as openfga:
        settings = OpenFgaStoreSettings(policy_store_url=openfga.url, auth_type="token", auth_token_file=str(file))
        async with open_openfga_store(settings) as store:
            before = await store.restart_token()
            openfga.arguments = ("--authn-method=preshared", "--authn-preshared-keys=second")
            await anyio.to_thread.run_sync(openfga.restart)
            with pytest.raises(StoreUnavailableError, match="refuses our credentials"):
                await store.restart_token()

            file.write_text("second\n")
            assert before == await store.restart_token()


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("", "one word"), ("two words", "one word")])
async def test_file_without_a_key_is_named(guarded: RealOpenFga, tmp_path: Path, content: str | None, why: str) -> None:
    """With what is wrong with it."""
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StoreUnavailableError, match=why) as caught:
        await let_in(guarded.url, auth_type="token", auth_token_file=str(file))

    assert str(file) in str(caught.value)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """An OpenID provider: its discovery document, its key, and tokens for a client that asks with its secret."""

    def __init__(self, server: ScriptedHttpServer) -> None:
        self.server = server
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self._key.public_key().public_numbers()
        jwk = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": "1",
            "n": _base64(public.n.to_bytes(256, "big")),
            "e": _base64(public.e.to_bytes(3, "big")),
        }
        discovery = {"issuer": server.url, "jwks_uri": f"{server.url}/keys"}
        server.route("/.well-known/openid-configuration", Answer(json=discovery))
        server.route("/keys", Answer(json={"keys": [jwk]}))
        server.route("/token", Answer(json={"access_token": self.token(), "expires_in": 3600}))

    def token(self) -> str:
        now = int(time.time())
        claims = {"iss": self.server.url, "aud": AUDIENCE, "sub": "cabochon", "iat": now, "exp": now + 3600}
        head = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{_base64(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


async def test_client_credentials_of_an_openid_provider_let_us_in(openfga_path: Path) -> None:
    """We ask the provider for a token for OpenFGA's audience, and OpenFGA believes it."""
    with ScriptedHttpServer() as server:
        issuer = Issuer(server)
        options = ("--authn-method=oidc", f"--authn-oidc-issuer={server.url}", f"--authn-oidc-audience={AUDIENCE}")
        with RealOpenFga(openfga_path, *options) as openfga:
            await let_in(
                openfga.url,
                auth_type="oauth",
                oauth_server=f"{issuer.server.url}/token",
                oauth_client_id="cabochon",
                oauth_client_secret=SecretStr("secret"),
                oauth_audience=AUDIENCE,
            )
        (asked,) = [one for one in server.requests if one.path == "/token"]

    assert b"grant_type=client_credentials" in asked.body
    assert b"audience=https%3A%2F%2Fopenfga.test" in asked.body
    assert asked.headers["authorization"].startswith("Basic ")


async def test_openfga_with_a_certificate_of_our_own(openfga_path: Path, tmp_path: Path) -> None:
    """Trusted with `OPAL_POLICY_STORE_TLS_CA`, and not without."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    ca, certificate, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(str(ca))
    issued.private_key_pem.write_to_path(str(key))
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(str(certificate), append=number > 0)
    with RealOpenFga(openfga_path, tls=(certificate, key)) as openfga:
        await let_in(openfga.url, tls_ca=str(ca))
        with pytest.raises(StoreUnavailableError, match="OPAL_POLICY_STORE_TLS_CA"):
            await let_in(openfga.url)
