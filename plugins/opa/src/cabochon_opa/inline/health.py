"""Whether an OPA of ours answers, and whether someone else has its address."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path

import anyio
import httpx

from cabochon.errors import ConfigurationError
from cabochon_opa.inline.address import ListenAddress

__all__ = ["require_free", "wait_until_up"]

_LOOK_EVERY_S = 0.02
_ANSWER_WITHIN_S = 1.0
_IN_USE = errno.EADDRINUSE
_UP = frozenset({200, 401, 403})
"""An OPA whose policy lets nobody ask for its health is up as well."""


async def wait_until_up(address: ListenAddress, tls: ssl.SSLContext | bool = False) -> None:  # noqa: FBT001, FBT002 - httpx's `verify`
    """Return once OPA answers at its address.

    Its certificate is not checked: nothing is sent that would need it, and it may well be made for another name.

    Args:
        address: where it listens.
        tls: the context to use, with our certificate where OPA asks for one.
    """
    try:
        httpx.URL(address.url)
    except httpx.InvalidURL:
        await anyio.sleep_forever()  # OPA can't listen there either, and is about to say so
    transport = httpx.AsyncHTTPTransport(uds=address.socket_path or None, verify=tls, trust_env=False)
    async with httpx.AsyncClient(transport=transport, base_url=address.url, timeout=_ANSWER_WITHIN_S) as http:
        while not await _is_up(http):  # noqa: ASYNC110 - another process has no event of ours to set
            await anyio.sleep(_LOOK_EVERY_S)


async def _is_up(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/health")).status_code in _UP
    except (httpx.TransportError, OSError) as err:  # httpx lets an alert that comes late pass as it is
        return _is_asked_for_a_certificate(err)


def _is_asked_for_a_certificate(err: BaseException) -> bool:
    """With authentication "tls", and no certificate of ours at hand, a refusal is all that OPA says."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def require_free(address: ListenAddress) -> None:
    """Make sure that nobody listens at an address yet; it blocks for no longer than a name takes to resolve.

    OPA would end with an error of its own, but whoever listens there would answer in its place until then.

    Raises:
        ConfigurationError: somebody does.
    """
    if _is_taken(address):
        raise ConfigurationError(
            f"OPAL_INLINE_OPA_CONFIG: somebody listens at {address} already: end it, give `addr` (and"
            " OPAL_POLICY_STORE_URL) another port, or set OPAL_INLINE_OPA_ENABLED=False if that is the OPA to use"
        )


def _is_taken(address: ListenAddress) -> bool:
    if address.scheme == "unix":
        return _answers(address.socket_path)
    if not address.port:
        return False
    listed = socket.AF_INET6 if not address.host and socket.has_dualstack_ipv6() else socket.AF_UNSPEC
    try:
        found = socket.getaddrinfo(
            address.host or None, address.port, listed, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return False
    family, kind, _, _, where = found[0]
    with socket.socket(family, kind) as probe:
        # As OPA does it: an address is free though connections of an OPA that has ended still linger.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not address.host:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind(where)
        except OSError as err:
            return err.errno == _IN_USE
    return False


def _answers(socket_path: str) -> bool:
    if not Path(socket_path).is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(socket_path)
        except OSError:
            return False
    return True
