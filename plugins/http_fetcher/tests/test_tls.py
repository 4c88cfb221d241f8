"""HTTPS: trust what the settings or the entry say, and nothing else."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import trustme

from cabochon.errors import ConfigurationError, FetchError
from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_http_fetcher.plugin import open_http_fetcher
from cabochon_http_fetcher.settings import HttpFetcherSettings


class Authority:
    """A certificate authority of this test run, with its files."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.folder = folder
        self.ca_file = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca_file)

    def serving(self, *, client_certs: bool = False, name: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        cast("Any", self.authority.issue_cert(name)).configure_cert(context)
        if client_certs:
            context.verify_mode = ssl.CERT_REQUIRED
            cast("Any", self.authority).configure_trust(context)
        return context

    def client_files(self) -> tuple[str, str, str]:
        """A client's certificate, its key, and both in one file."""
        cert, key, both = (str(self.folder / name) for name in ("cert.pem", "key.pem", "both.pem"))
        issued = self.authority.issue_cert("client.example")
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
        issued.private_key_and_cert_chain_pem.write_to_path(both)
        return cert, key, both


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer(tls=authority.serving()) as server:
        server.route("/x", json={"a": 1})
        yield server


async def test_unknown_certificate_is_not_trusted(opened: Callable[..., Any], secure: ScriptedHttpServer) -> None:
    """Without settings only the system's authorities count, and the error says so."""
    with pytest.raises(FetchError, match="its certificate is not trusted") as caught:
        await (await opened()).fetch(f"{secure.url}/x", {})

    assert caught.value.again


async def test_settings_name_the_authority(
    opened: Callable[..., Any], secure: ScriptedHttpServer, authority: Authority
) -> None:
    """The peer's two variables together make an authority of one's own trusted."""
    fetcher = await opened(self_signed_allowed=True, trusted_ca_file=authority.ca_file)

    assert b'{"a": 1}' == await fetcher.fetch(f"{secure.url}/x", {})


async def test_authority_counts_only_if_allowed(
    opened: Callable[..., Any], secure: ScriptedHttpServer, authority: Authority
) -> None:
    """As in the peer, the file alone changes nothing."""
    fetcher = await opened(trusted_ca_file=authority.ca_file)
    with pytest.raises(FetchError, match="its certificate is not trusted"):
        await fetcher.fetch(f"{secure.url}/x", {})


async def test_settings_with_a_missing_authority_stop_the_start() -> None:
    """A file that is not there is an error at the start that names the variable, not a silent default."""
    settings = HttpFetcherSettings(self_signed_allowed=True, trusted_ca_file="/no/such/ca.pem")
    with pytest.raises(ConfigurationError, match=r"OPAL_CLIENT_SSL_CONTEXT_TRUSTED_CA_FILE: .*/no/such/ca\.pem"):
        async with open_http_fetcher(settings):
            pass


async def test_entry_names_its_authority(
    opened: Callable[..., Any], secure: ScriptedHttpServer, authority: Authority
) -> None:
    """An entry may trust an authority of its own; others do not inherit it."""
    fetcher = await opened()

    assert b'{"a": 1}' == await fetcher.fetch(f"{secure.url}/x", {"ca_file": authority.ca_file})
    with pytest.raises(FetchError, match="its certificate is not trusted"):
        await fetcher.fetch(f"{secure.url}/x", {})


async def test_entry_may_trust_anyone(opened: Callable[..., Any], secure: ScriptedHttpServer) -> None:
    """`verify` false is for that entry alone."""
    fetcher = await opened()

    assert b'{"a": 1}' == await fetcher.fetch(f"{secure.url}/x", {"verify": False})
    with pytest.raises(FetchError, match="its certificate is not trusted"):
        await fetcher.fetch(f"{secure.url}/x", {})


async def test_certificate_for_another_name_is_not_trusted(opened: Callable[..., Any], authority: Authority) -> None:
    """The authority is right, the name is not."""
    fetcher = await opened()
    with ScriptedHttpServer(tls=authority.serving(name="other.example")) as server:
        url = server.route("/x", json={})
        with pytest.raises(FetchError, match="its certificate is not trusted"):
            await fetcher.fetch(url, {"ca_file": authority.ca_file})


@pytest.mark.parametrize("in_one_file", [False, True], ids=["two files", "one file"])
async def test_entry_shows_its_certificate(
    opened: Callable[..., Any],
    authority: Authority,
    in_one_file: bool,  # noqa: FBT001 # a column of the table
) -> None:
    """A server that asks for a certificate gets the entry's."""
    cert, key, both = authority.client_files()
    shown = {"client_cert": both} if in_one_file else {"client_cert": cert, "client_key": key}
    with ScriptedHttpServer(tls=authority.serving(client_certs=True)) as server:
        fetcher, url = await opened(), server.route("/x", json={})

        assert b"{}" == await fetcher.fetch(url, {"ca_file": authority.ca_file, **shown})
        with pytest.raises(FetchError, match=r"can't be reached|broke off") as caught:
            await fetcher.fetch(url, {"ca_file": authority.ca_file})

    assert caught.value.again


async def test_renewed_file_is_read_again(
    opened: Callable[..., Any], secure: ScriptedHttpServer, authority: Authority, tmp_path: Path
) -> None:
    """A file that changed on disk counts from the next fetch on."""
    fetcher, ca_file = await opened(), tmp_path / "ca.pem"
    ca_file.write_bytes(trustme.CA().cert_pem.bytes())
    with pytest.raises(FetchError, match="its certificate is not trusted"):
        await fetcher.fetch(f"{secure.url}/x", {"ca_file": str(ca_file)})
    ca_file.write_bytes(authority.authority.cert_pem.bytes())

    assert b'{"a": 1}' == await fetcher.fetch(f"{secure.url}/x", {"ca_file": str(ca_file)})


async def test_many_different_entries_do_not_pile_up(
    opened: Callable[..., Any], secure: ScriptedHttpServer, authority: Authority, tmp_path: Path
) -> None:
    """Entries with ever new files all work; what is kept for them is bounded."""
    fetcher = await opened(max_connections=4)
    for number in range(20):
        ca_file = tmp_path / f"{number}.pem"
        ca_file.write_bytes(authority.authority.cert_pem.bytes())
        assert b'{"a": 1}' == await fetcher.fetch(f"{secure.url}/x", {"ca_file": str(ca_file)})
