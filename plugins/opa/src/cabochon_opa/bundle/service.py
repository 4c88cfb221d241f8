"""The HTTP face that OPA asks for its bundle and tells its status."""

from __future__ import annotations

import hmac
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import structlog
from pydantic import SecretStr

from cabochon.errors import ConfigurationError
from cabochon.kit.web.pages import KeptFromPages, PageGuard, PageSettings
from cabochon.kit.web.server import Receive, Scope, Send, serve
from cabochon_opa.bundle.opa_config import BUNDLE_RESOURCE, STATUS_RESOURCE, listen_address
from cabochon_opa.bundle.shelf import BundleShelf
from cabochon_opa.bundle.status import read_report

__all__ = ["BundleApp", "open_bundle_service"]

log = structlog.get_logger()

_BUNDLE_TYPE = b"application/vnd.openpolicyagent.bundles"
"""Any other type would make OPA give up long polling."""

_MAX_BODY = 4 * 1024 * 1024
_BODY_S = 10.0
_MAX_WAIT_S = 60.0
_MAX_WAITING = 64
_WAIT = re.compile(r"\bwait=(\d{1,6})\b")


class BundleApp:
    """The ASGI application: the bundle, and OPA's status updates.

    Args:
        shelf: what is on offer.
        token: what OPA must send as bearer token, None to let everybody in who reaches the address.
    """

    def __init__(self, shelf: BundleShelf, token: SecretStr | None = None) -> None:
        self._shelf = shelf
        self._authorization = None if token is None else f"Bearer {token.get_secret_value()}".encode()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            try:
                await self._answer(scope, receive, send)
            except Exception:
                log.error("bundle_service.failed", path=scope["path"], exc_info=True)  # noqa: G201 - as all levels are named
                raise

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        method, path = scope["method"], scope["path"]
        if self._authorization and not hmac.compare_digest(headers.get(b"authorization", b""), self._authorization):
            await _respond(send, 401)
        elif path == BUNDLE_RESOURCE and method == "GET":
            await self._bundle(headers, receive, send)
        elif path.rstrip("/") == STATUS_RESOURCE and method == "POST":
            await _respond(send, await self._status(headers, receive))
        else:
            await _respond(send, 405 if path in {BUNDLE_RESOURCE, STATUS_RESOURCE} else 404)

    async def _bundle(self, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        if self._waiting >= _MAX_WAITING:
            await _respond(send, 503)
            return
        known = [tag.strip() for tag in headers.get(b"if-none-match", b"").decode("latin-1").split(",")]
        wait = _WAIT.search(headers.get(b"prefer", b"").decode("latin-1"))
        wait_s = min(float(wait[1]), _MAX_WAIT_S) if wait else 0.0
        archive, gone = None, True
        self._waiting += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
                archive = await self._shelf.wait_for_news(known, wait_s)
                gone = False
                tasks.cancel_scope.cancel()
        finally:
            self._waiting -= 1
        if gone:
            return
        if archive is None:
            # Without an ETag OPA keeps the one that it has.
            await _respond(send, 304)
            return
        log.debug("bundle.served", revision=archive.revision, bytes=len(archive.content))
        tag = (b"etag", archive.etag.encode())
        await _respond(send, 200, archive.content, (b"content-type", _BUNDLE_TYPE), tag)

    async def _status(self, headers: dict[bytes, bytes], receive: Receive) -> int:
        # A page in a browser on this machine could send any other type without being asked for permission.
        if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
            return 415
        with anyio.move_on_after(_BODY_S):
            body = await _body(receive)
            if body is None:
                return 413
            try:
                report = read_report(body)
            except ValueError as err:
                log.warning("bundle_status.malformed", error=str(err))
                return 400
            if report is not None:
                log.debug("bundle_status.received", active_revision=report.active_revision, error=report.message)
                self._shelf.note(report)
            return 204
        return 408


async def _live(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _body(receive: Receive) -> bytes | None:
    """Return the body, None if it is too large: the rest is read and thrown away, so that the answer is heard."""
    body = bytearray()
    size, more = 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= _MAX_BODY:
            body += part
        more = message["type"] == "http.request" and message.get("more_body", False)
    return bytes(body) if size <= _MAX_BODY else None


async def _respond(send: Send, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
    length = () if status in {204, 304} else ((b"content-length", str(len(body)).encode()),)
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def open_bundle_service(address: str, token: SecretStr | None = None) -> AsyncGenerator[BundleShelf]:
    """Serve bundles at `address` while the block runs.

    Args:
        address: `host:port`; port 0 takes a free one.
        token: see `BundleApp`.

    Yields:
        What is on offer.

    Raises:
        ConfigurationError: the address is none, or taken.
    """
    listener = await anyio.to_thread.run_sync(_listen, address)
    shelf = BundleShelf()
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        host, port = listener.getsockname()[:2]
        pages = PageGuard(
            PageSettings(), free=(), is_open=token is None, listens_on=host, name=address.rpartition(":")[0]
        )
        tasks.start_soon(serve, KeptFromPages(BundleApp(shelf, token), pages), listener, stop)
        log.info("bundle_service.started", address=f"{host}:{port}", token_required=token is not None)
        try:
            yield shelf
        finally:
            # Who waits is answered, else the server would wait for them.
            shelf.close()
            stop.set()


def _listen(address: str) -> socket.socket:
    host, port = listen_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
    except OSError as err:
        msg = (
            f"OPAL_OPA_BUNDLE_SERVICE_ADDR={address!r}: can't listen there: {err.strerror or err};"
            " give a host:port that is free"
        )
        raise ConfigurationError(msg) from err
    listener.setblocking(False)
    return listener
