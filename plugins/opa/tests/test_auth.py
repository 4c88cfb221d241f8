"""How we prove to OPA who we are: against a real OPA that lets in no other, and an OAuth server of the tests' own."""

from __future__ import annotations

import base64
import itertools
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trustme
from pydantic import SecretStr
from structlog.testing import capture_logs

from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreUnavailableError
from cabochon.kit.http.auth import ClientCredentials
from cabochon.testing.http_server import Answer, RecordedRequest, ScriptedHttpServer
from cabochon.transactions.changes import Changes, SetData, Write
from cabochon_opa.client import RequestUnansweredError
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.testing import RealOpa, free_port

BOB = DocumentPath(("users", "bob"))
SECRET = "the-client-secret"
AUTHZ = """package system.authz

default allow := false

allow if input.identity in {"letmein", "token-1", "token-2", "token-3"}
"""


@pytest.fixture
def guarded_opa(opa_path: Path, tmp_path: Path) -> Iterator[RealOpa]:
    """An OPA that lets in some tokens and nobody else."""
    (tmp_path / "authz.rego").write_text(AUTHZ)
    arguments = ("--authentication=token", "--authorization=basic", str(tmp_path / "authz.rego"))
    with RealOpa(opa_path, *arguments) as running:
        yield running


async def write_and_read(settings: OpaStoreSettings) -> None:
    """A commit and a read, as any sync does them."""
    async with open_opa_store(settings) as store:
        result = await store.commit(Changes((Write("t", (SetData(BOB, b'{"role":"admin"}'),)),)))
        assert result.landed
        assert await store.get_data(BOB) == b'{"role":"admin"}'


async def complaint_of(settings: OpaStoreSettings) -> str:
    """Why a commit does not get through; in one line."""
    async with open_opa_store(settings) as store:
        with pytest.raises(StoreUnavailableError) as caught:
            await store.commit(Changes((Write("t", (SetData(BOB, b"1"),)),)))
        assert "\n" not in str(caught.value)
        return str(caught.value)


# ------------------------------------------------------------------------------------------------------------ tokens


async def test_a_token_lets_us_in(guarded_opa: RealOpa) -> None:
    """Both writing and reading carry it."""
    settings = OpaStoreSettings(policy_store_url=guarded_opa.url, auth_type="token", auth_token=SecretStr("letmein"))

    await write_and_read(settings)


@pytest.mark.parametrize("auth", [{}, {"auth_type": "token", "auth_token": SecretStr("wrong-token")}])
async def test_without_the_right_token_the_message_says_where_to_look(
    guarded_opa: RealOpa, auth: dict[str, Any]
) -> None:
    """No token and a wrong one are 401 alike; the token is not repeated."""
    complaint = await complaint_of(OpaStoreSettings(policy_store_url=guarded_opa.url, **auth))

    assert complaint == (
        f"OPA at {guarded_opa.url} refuses our credentials with 401:"
        " see OPAL_POLICY_STORE_AUTH_TYPE and OPA's system.authz policy"
    )


# ------------------------------------------------------------------------------------------------------------- OAuth


@pytest.fixture
def oauth_server() -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer() as server:
        yield server


def tokens(**more: Any) -> Callable[[RecordedRequest], Answer]:
    """Hand out token-1, token-2, ..."""
    numbers = itertools.count(1)
    return lambda _: Answer(json={"access_token": f"token-{next(numbers)}", "token_type": "Bearer", **more})


def with_oauth(opa_url: str, server: str) -> OpaStoreSettings:
    return OpaStoreSettings(
        policy_store_url=opa_url,
        auth_type="oauth",
        oauth_server=server,
        oauth_client_id="agent",
        oauth_client_secret=SecretStr(SECRET),
    )


async def test_client_credentials_let_us_in(guarded_opa: RealOpa, oauth_server: ScriptedHttpServer) -> None:
    """The token request is what the peer sends: a form, with id and secret as Basic authentication."""
    url = oauth_server.route("/token", tokens(expires_in=3600))

    await write_and_read(with_oauth(guarded_opa.url, url))

    [request] = oauth_server.requests
    assert (request.method, request.body) == ("POST", b"grant_type=client_credentials")
    assert request.headers["authorization"] == "Basic " + base64.b64encode(f"agent:{SECRET}".encode()).decode()
    assert request.headers["accept"] == "application/json"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded;charset=UTF-8"


async def test_many_requests_share_one_token(guarded_opa: RealOpa, oauth_server: ScriptedHttpServer) -> None:
    """Those that come while it is being fetched wait for it."""
    url = oauth_server.route("/token", json={"access_token": "token-1", "expires_in": 3600}, delay_s=0.1)

    async with open_opa_store(with_oauth(guarded_opa.url, url)) as store, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(store.health)

    assert len(oauth_server.requests) == 1


async def test_a_token_that_opa_refuses_is_renewed_once(guarded_opa: RealOpa, oauth_server: ScriptedHttpServer) -> None:
    """The commit goes through with the second one, its body sent again; the sync notices nothing."""
    url = oauth_server.route(
        "/token", Answer(json={"access_token": "revoked"}), Answer(json={"access_token": "token-2"})
    )

    await write_and_read(with_oauth(guarded_opa.url, url))

    assert len(oauth_server.requests) == 2


async def test_tokens_that_opa_always_refuses_are_not_fetched_again_and_again(
    guarded_opa: RealOpa, oauth_server: ScriptedHttpServer
) -> None:
    """OPA's policy is wrong then, and the OAuth server need not suffer for it."""
    url = oauth_server.route("/token", json={"access_token": "unknown-to-opa", "expires_in": 3600})

    async with open_opa_store(with_oauth(guarded_opa.url, url)) as store:
        for _ in range(5):
            with pytest.raises(StoreUnavailableError, match="refuses our credentials with 401"):
                await store.health()

    assert len(oauth_server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            Answer(status=401, json={"error": "invalid_client", "error_description": SECRET}),
            "it answered with 401 invalid_client",
        ),
        (Answer(status=400, json={"error": f"no <{SECRET}>"}), "it answered with 400"),
        (Answer(status=503, body="<html>down</html>"), "it answered with 503"),
        (Answer(status=200, body="<html>log in</html>"), "it answered with no JSON object that has an access_token"),
        (Answer(status=200, body=b"\xff\xfe"), "it answered with no JSON object that has an access_token"),
        (Answer(status=200, json={"expires_in": 3600}), "it answered with no JSON object that has an access_token"),
        (
            Answer(status=200, json={"access_token": f"{SECRET}\r\nX-Evil: 1"}),
            "its access_token can't be sent in a header",
        ),
        (Answer(disconnect=True), "it can't be reached: "),
    ],
)
async def test_an_oauth_server_that_gives_no_token_is_named(
    guarded_opa: RealOpa, oauth_server: ScriptedHttpServer, answer: Answer, why: str
) -> None:
    """In one line that blames it and not OPA, and repeats no secret."""
    url = oauth_server.route("/token", answer) + "?key=" + SECRET

    complaint = await complaint_of(with_oauth(guarded_opa.url, url))

    shown = url.partition("?")[0] + "?key=***"
    assert complaint.startswith(f"no token for the policy store from the OAuth server {shown}: {why}")
    assert complaint.endswith("; see OPAL_POLICY_STORE_AUTH_OAUTH_...")
    assert SECRET not in complaint


async def test_an_oauth_server_that_is_not_there_is_named(guarded_opa: RealOpa) -> None:
    """It must not read as if OPA could not be reached."""
    url = f"http://127.0.0.1:{free_port()}/token"

    complaint = await complaint_of(with_oauth(guarded_opa.url, url))

    assert complaint == (
        f"no token for the policy store from the OAuth server {url}: it can't be reached: Connection refused;"
        " see OPAL_POLICY_STORE_AUTH_OAUTH_..."
    )


async def test_the_token_is_asked_of_the_oauth_server_though_opa_is_behind_a_socket(
    opa_path: Path, tmp_path: Path, oauth_server: ScriptedHttpServer
) -> None:
    """OPA's transport must not carry the token request."""
    (tmp_path / "authz.rego").write_text(AUTHZ)
    address = f"unix://{tmp_path}/opa.sock"
    arguments = ("--authentication=token", "--authorization=basic", str(tmp_path / "authz.rego"))
    url = oauth_server.route("/token", tokens())

    with RealOpa(opa_path, *arguments, address=address):
        await write_and_read(with_oauth(address, url))

    assert len(oauth_server.requests) == 1


async def test_an_oauth_server_that_slowly_gives_a_token_gets_to_give_it(
    guarded_opa: RealOpa, oauth_server: ScriptedHttpServer
) -> None:
    """A caller's deadline that is shorter than that must not begin it all over each time."""
    url = oauth_server.route("/token", json={"access_token": "token-1"}, delay_s=0.3)

    async with open_opa_store(with_oauth(guarded_opa.url, url)) as store:
        with anyio.move_on_after(0.05):
            await store.health()
        await store.health()

    assert len(oauth_server.requests) == 1


# ----------------------------------------------------------------------------------------- OAuth, on a clock of ours


class Clock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


class Resource:
    """What is protected: remembers what it was shown, and refuses what it is told to."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.refused: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.shown.append(request.headers["authorization"].removeprefix("Bearer "))
        return httpx.Response(401 if self.shown[-1] in self.refused else 200)


@asynccontextmanager
async def protected(server: ScriptedHttpServer, clock: Clock, resource: Resource) -> AsyncGenerator[Callable[[], Any]]:
    async with httpx.AsyncClient() as http:
        auth = ClientCredentials(http, f"{server.url}/token", "agent", SecretStr(SECRET), now=clock)
        async with httpx.AsyncClient(
            base_url="http://opa", transport=httpx.MockTransport(resource), auth=auth
        ) as client:
            yield lambda: client.get("/")


@pytest.mark.parametrize(
    ("expires_in", "good_for_s"), [(3600, 3570.0), ("3600", 3570.0), (20, 10.0), (60, 30.0), (None, 1e6)]
)
async def test_a_token_is_renewed_before_it_expires(
    oauth_server: ScriptedHttpServer, expires_in: object, good_for_s: float
) -> None:
    """Half a minute before, at half of its life if that is short, never if it does not expire."""
    oauth_server.route("/token", tokens() if expires_in is None else tokens(expires_in=expires_in))
    clock, resource = Clock(), Resource()

    async with protected(oauth_server, clock, resource) as ask:
        await ask()
        clock.s += good_for_s - 0.01
        await ask()
        clock.s += 0.02
        await ask()

    assert resource.shown == ["token-1", "token-1", "token-1" if expires_in is None else "token-2"]


async def test_a_renewal_that_fails_does_no_harm_while_the_token_is_good(oauth_server: ScriptedHttpServer) -> None:
    """It is tried again every five seconds, with a warning, and the error comes when the token has expired."""
    oauth_server.route("/token", Answer(json={"access_token": "token-1", "expires_in": 100}), Answer(status=503))
    clock, resource = Clock(), Resource()

    async with protected(oauth_server, clock, resource) as ask:
        await ask()
        clock.s += 71
        with capture_logs() as logs:
            await ask()
            await ask()
        assert [entry["event"] for entry in logs] == ["policy_store.token_not_renewed"]
        assert len(oauth_server.requests) == 2
        clock.s += 5.1
        await ask()
        assert len(oauth_server.requests) == 3
        clock.s += 30
        with pytest.raises(StoreUnavailableError, match="it answered with 503"):
            await ask()
        oauth_server.route("/token", json={"access_token": "token-2"})
        await ask()

    assert resource.shown == ["token-1"] * 4 + ["token-2"]


async def test_a_refused_token_is_renewed_again_after_a_while(oauth_server: ScriptedHttpServer) -> None:
    """Keys may be changed twice."""
    oauth_server.route("/token", tokens(expires_in=3600))
    clock, resource = Clock(), Resource()

    async with protected(oauth_server, clock, resource) as ask:
        resource.refused = {"token-1"}
        assert (await ask()).status_code == 200
        resource.refused = {"token-2"}
        assert (await ask()).status_code == 401
        clock.s += 10.1
        assert (await ask()).status_code == 200

    assert resource.shown == ["token-1", "token-2", "token-2", "token-2", "token-3"]


async def test_who_waits_for_a_token_in_vain_does_not_ask_again(oauth_server: ScriptedHttpServer) -> None:
    """Else every request would wait for the ones before it, and each as long as the OAuth server hangs."""
    oauth_server.route("/token", status=503, delay_s=0.1)
    failed: list[str] = []

    async def fails(ask: Callable[[], Any]) -> None:
        with pytest.raises(StoreUnavailableError) as caught:
            await ask()
        failed.append(str(caught.value))

    async with protected(oauth_server, Clock(), Resource()) as ask, anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(fails, ask)

    assert len(failed) == 10
    assert len(oauth_server.requests) == 1


# -------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OPA's certificate and ours from one CA, and a stranger's."""
    folder = tmp_path_factory.mktemp("certificates")
    ca, stranger = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    stranger.issue_cert("agent.example").private_key_and_cert_chain_pem.write_to_path(str(folder / "stranger.pem"))
    for name, host in (("opa", "127.0.0.1"), ("agent", "agent.example")):
        issued = ca.issue_cert(host)
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    return folder


@pytest.fixture
def tls_opa(opa_path: Path, certificates: Path) -> Iterator[str]:
    """The address of an OPA that asks for a certificate."""
    with RealOpa(
        opa_path,
        f"--tls-cert-file={certificates}/opa.pem",
        f"--tls-private-key-file={certificates}/opa.key",
        "--authentication=tls",
        f"--tls-ca-cert-file={certificates}/ca.pem",
    ) as running:
        yield running.url.replace("http:", "https:")


async def test_our_certificate_lets_us_in(tls_opa: str, certificates: Path) -> None:
    """With its key in a file of its own."""
    settings = OpaStoreSettings(
        policy_store_url=tls_opa,
        auth_type="tls",
        tls_client_cert=f"{certificates}/agent.pem",
        tls_client_key=f"{certificates}/agent.key",
        tls_ca=f"{certificates}/ca.pem",
    )

    await write_and_read(settings)


@pytest.mark.parametrize("certificate", [None, "stranger.pem"])
async def test_without_a_certificate_that_opa_trusts_the_message_names_the_variables(
    tls_opa: str, certificates: Path, certificate: str | None
) -> None:
    """OPA says so only after the handshake, and may break the connection before we read it: then the next try tells."""
    settings = OpaStoreSettings(
        policy_store_url=tls_opa,
        tls_client_cert=certificate and f"{certificates}/{certificate}",
        tls_ca=f"{certificates}/ca.pem",
    )

    complaints: list[str] = []
    async with open_opa_store(settings) as store:
        for _ in range(50):
            with pytest.raises(StoreUnavailableError) as caught:
                await store.health()
            if not isinstance(caught.value, RequestUnansweredError):
                complaints.append(str(caught.value))
                break
    [complaint] = complaints

    assert complaint.startswith(f"OPA at {tls_opa} wants a certificate that it trusts: TLS failed (TLSV1")
    assert complaint.endswith("; see OPAL_POLICY_STORE_TLS_CLIENT_CERT and OPAL_POLICY_STORE_TLS_CLIENT_KEY")


async def test_an_opa_that_we_do_not_trust_is_not_talked_to(tls_opa: str) -> None:
    """The message names the variable with the certificates to trust."""
    complaint = await complaint_of(OpaStoreSettings(policy_store_url=tls_opa))

    assert complaint == (
        f"OPA at {tls_opa} can't be reached: its certificate is not trusted (unable to get local issuer certificate);"
        " see OPAL_POLICY_STORE_TLS_CA"
    )


async def test_opas_certificates_are_not_the_oauth_servers(
    opa_path: Path, certificates: Path, oauth_server: ScriptedHttpServer
) -> None:
    """OPA with TLS, the OAuth server without: neither CA nor certificate of one is used for the other."""
    url = oauth_server.route("/token", tokens())
    with RealOpa(
        opa_path, f"--tls-cert-file={certificates}/opa.pem", f"--tls-private-key-file={certificates}/opa.key"
    ) as running:
        settings = with_oauth(running.url.replace("http:", "https:"), url).model_copy(
            update={"tls_ca": f"{certificates}/ca.pem"}
        )
        await write_and_read(settings)

    assert len(oauth_server.requests) == 1


async def test_an_oauth_server_with_a_certificate_that_is_not_trusted_is_named(
    opa: RealOpa, certificates: Path
) -> None:
    """OPA's CA is not believed about the OAuth server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificates}/opa.pem", f"{certificates}/opa.key")
    with ScriptedHttpServer(tls=context) as server:
        settings = with_oauth(opa.url, server.route("/token", tokens())).model_copy(
            update={"tls_ca": f"{certificates}/ca.pem"}
        )
        complaint = await complaint_of(settings)

    assert "from the OAuth server https://127.0.0.1:" in complaint
    assert "it can't be reached: its certificate is not trusted" in complaint


async def test_opa_at_a_socket(opa_path: Path, tmp_path: Path) -> None:
    """No port is needed, nor a certificate."""
    address = f"unix://{tmp_path}/opa.sock"
    with RealOpa(opa_path, address=address):
        await write_and_read(OpaStoreSettings(policy_store_url=address))
