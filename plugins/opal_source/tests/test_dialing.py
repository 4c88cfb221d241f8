"""How the server is reached: over TLS, and through a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import trustme
from structlog.testing import capture_logs
from websockets.uri import parse_uri

from cabochon import Connected, load_settings
from cabochon_opal_source.dialing import proxy_for
from cabochon_opal_source.settings import OpalSourceSettings
from cabochon_opal_source.source import OpalUpdateSource
from cabochon_opal_source.websocket import ConnectionLostError

from .opal_server import WITHIN_S, OpalServer, until


async def connected(url: str, **more: str) -> None:
    """Follow a server until it is connected."""
    settings = load_settings(OpalSourceSettings, {"OPAL_SERVER_URL": url, **more})
    async with OpalUpdateSource.open(settings) as source, aclosing(cast("Any", source.events())) as events:
        with anyio.fail_after(WITHIN_S):
            assert isinstance(await anext(events), Connected)
        await source.data_sources()


async def refused(url: str) -> str:
    """Try to follow a server; the reason of the first try's failure."""
    settings = load_settings(OpalSourceSettings, {"OPAL_SERVER_URL": url})
    with capture_logs() as logs:
        async with (
            OpalUpdateSource.open(settings) as source,
            aclosing(cast("Any", source.events())) as events,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(anext, events)
            await until(lambda: bool(logs))
            tasks.cancel_scope.cancel()
    assert "server_connection.failed" == logs[0]["event"]
    return logs[0]["error"]


class Proxy:
    """Opens one tunnel to wherever it is asked, or refuses with a status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://bob:hunter2@127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        """End every tunnel and wait for its thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(WITHIN_S)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = client.recv(1)
                if not byte:
                    return
                head += byte
            self.asked.append(head.decode())
            client.sendall(f"HTTP/1.1 {self.status} Said\r\n\r\n".encode())
            if self.status == 200:
                host, _, port = head.split()[1].decode().rpartition(":")
                self._tunnel(client, host, int(port))

    def _tunnel(self, client: socket.socket, host: str, port: int) -> None:
        with socket.create_connection((host, port)) as server:
            back = threading.Thread(target=_pipe, args=(server, client), daemon=True)
            back.start()
            _pipe(client, server)
            back.join(WITHIN_S)


def _pipe(one: socket.socket, other: socket.socket) -> None:
    try:
        while piece := one.recv(65536):
            other.sendall(piece)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "ws", "wss", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY".upper(), raising=False)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure_server(authority: trustme.CA) -> Iterator[OpalServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cast("Any", authority.issue_cert("127.0.0.1")).configure_cert(context)
    with OpalServer(tls=context) as server:
        yield server


def trusting(authority: trustme.CA, folder: Path) -> dict[str, str]:
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return {
        "OPAL_CLIENT_SELF_SIGNED_CERTIFICATES_ALLOWED": "true",
        "OPAL_CLIENT_SSL_CONTEXT_TRUSTED_CA_FILE": str(file),
    }


async def test_server_over_tls(secure_server: OpalServer, authority: trustme.CA, tmp_path: Path) -> None:
    """
    With its authority trusted, the WebSocket and HTTP both go over TLS.
    """
    await connected(secure_server.url, **trusting(authority, tmp_path))


async def test_untrusted_certificate_is_refused(secure_server: OpalServer) -> None:
    """
    Without it there is no connection, and the log says why.
    """
    error = await refused(secure_server.url)

    assert "certificate is not trusted" in error
    assert [] == secure_server.peers


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
async def test_proxy_opens_a_tunnel(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, authority: trustme.CA, tmp_path: Path, *, secure: bool
) -> None:
    """
    The WebSocket goes through the proxy that the environment names, which is told its password.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cast("Any", authority.issue_cert("127.0.0.1")).configure_cert(context)
    monkeypatch.setenv("wss_proxy" if secure else "ws_proxy", proxy.url)
    with OpalServer(tls=context if secure else None) as server:
        await connected(server.url, **trusting(authority, tmp_path))

    (asked,) = proxy.asked
    assert asked.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic Ym9iOmh1bnRlcjI=\r\n" in asked


async def test_proxy_that_refuses_is_the_reason(monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    """
    A proxy that does not let us through is named with its status, without its password.
    """
    proxy.status = 407
    monkeypatch.setenv("ws_proxy", proxy.url)
    with OpalServer() as server:
        error = await refused(server.url)

    assert "the proxy answered with 407" == error


def test_excepted_host_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    `no_proxy` excepts hosts; `ws_proxy` comes before `http_proxy`, which comes before `all_proxy`.
    """
    uri = parse_uri("ws://server.example/ws")
    assert proxy_for(uri) is None
    for name in ("all", "http", "ws"):
        monkeypatch.setenv(f"{name}_proxy", f"http://{name}.example:3128")
        found = proxy_for(uri)
        assert found is not None
        assert f"{name}.example" == found.hostname
    monkeypatch.setenv("no_proxy", "server.example")
    assert proxy_for(uri) is None


@pytest.mark.parametrize("url", ["socks5://localhost:1080", "http://", "http://localhost:99999"])
def test_unusable_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """
    What is no HTTP proxy can't be used, and is not silently left out.
    """
    monkeypatch.setenv("ws_proxy", url)
    with pytest.raises(ConnectionLostError, match="ws, http or all_proxy is no http:// URL"):
        proxy_for(parse_uri("ws://server.example/ws"))
