"""Where an agent may be sent: who publishes an update or registers a callback names addresses, which the agent asks.

It asks from its own place in the network, where its engine and itself trust whoever is near, and where clouds give
their secrets to everyone. So these are out of bounds, by the address that is connected to and not by its name, and
operators may draw the bounds closer or wider.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from pydantic import AfterValidator

from cabochon.settings.model import CommaList

__all__ = ["OutOfReachError", "Places", "Reach", "literal_address"]

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(//)?")
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_RENEWED_AFTER_S = 30.0
_RESOLVED_WITHIN_S = 5.0
_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class OutOfReachError(Exception):
    """An address that the agent may not be sent to; the message says why, and which setting would allow it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """One item of a list of places: what is empty does not matter."""

    scheme: str = ""
    name: str = ""
    network: _Network | None = None
    port: int | None = None

    @property
    def is_any(self) -> bool:
        return self.name == "*" and self.port is None

    def has(self, host: str, port: int, address: _Address) -> bool:
        if self.scheme or self.port not in {None, port}:
            return False
        if self.network is not None:
            return address in self.network
        return self.name in {"*", host} or (self.name.startswith("*.") and host.endswith(self.name[1:]))


def _place(text: str) -> _Place:
    item = text.strip().lower()
    if found := _SCHEME.fullmatch(item):
        return _Place(scheme=found[1])
    try:
        return _Place(network=ipaddress.ip_network(item.strip("[]"), strict=False))
    except ValueError:
        pass
    host, port = _split(item, text)
    try:
        return _Place(network=ipaddress.ip_network(host), port=port)
    except ValueError:
        pass
    if host != "*" and not _NAME.fullmatch(host):
        raise ValueError(f"{text!r} is no place: {_EXAMPLES}")
    return _Place(name=host.rstrip("."), port=port)


_EXAMPLES = (
    "it should be a host (data.example, *.example, data.example:8443), a network (10.0.0.0/8) or a scheme (https:)"
)


def _split(item: str, text: str) -> tuple[str, int | None]:
    host, colon, port = item.rpartition(":")
    if not colon:
        return item, None
    if not port.isdecimal():
        raise ValueError(f"{text!r} is no place: {_EXAMPLES}")
    return host.strip("[]"), int(port)


def _checked(items: tuple[str, ...]) -> tuple[str, ...]:
    for item in items:
        _place(item)
    return items


Places = Annotated[CommaList, AfterValidator(_checked)]
"""A list of hosts, networks and schemes, as a setting has it: `data.example:8443`, `*.example`, `10.0.0.0/8`."""


class Reach:
    """Where one kind of request may go.

    Args:
        prefix: of the variables that the lists come from, for messages: `OPAL_FETCH` of `OPAL_FETCH_ALLOWED`.
        allowed: nothing else is, where it names hosts or networks; and only these schemes, where it names such. What is
            out of bounds by default is allowed by naming it, the engine and the agent themselves with their port.
        denied: never.
    """

    def __init__(self, prefix: str, allowed: Iterable[str], denied: Iterable[str]) -> None:
        self._prefix = prefix
        self._allowed = [_place(item) for item in allowed]
        self._denied = [_place(item) for item in denied]
        self._schemes = {place.scheme for place in self._allowed} - {""}
        self._hosts = [place for place in self._allowed if not place.scheme]
        self._own: list[tuple[str, int]] = []
        self._own_addresses: dict[str, frozenset[_Address]] = {}
        self._renewed_at = float("-inf")

    def avoid(self, urls: Iterable[str]) -> None:
        """Put the agent itself and its engine out of bounds."""
        for url in urls:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme)
            if parts.hostname and port:
                self._own.append((parts.hostname, port))

    async def check_url(self, scheme: str, host: str, port: int, *, at_a_distance: bool = False) -> None:
        """Check what a URL says by itself: its scheme, and its address if it has one in place of a name.

        Args:
            scheme: in lower case.
            host: a name, or an address without brackets.
            port: the port.
            at_a_distance: a proxy will resolve the name: it is resolved here too, as far as it can be.

        Raises:
            OutOfReachError: it is out of bounds.
        """
        if any(place.scheme == scheme for place in self._denied):
            raise OutOfReachError(f"{self._prefix}_DENIED denies {scheme}")
        if self._schemes and scheme not in self._schemes:
            raise OutOfReachError(f"{self._prefix}_ALLOWED does not allow {scheme}")
        address = literal_address(host)
        if address is not None:
            await self.check(host, port, address)
        elif at_a_distance:
            for found in await _resolved(host):
                await self.check(host, port, str(found))

    async def check(self, host: str, port: int, address: str) -> None:
        """Check what is about to be connected to.

        Args:
            host: as the URL has it.
            port: the port.
            address: what the host was resolved to.

        Raises:
            OutOfReachError: it is out of bounds.
        """
        host = host.lower().rstrip(".")
        found = _plain(address)
        if any(place.has(host, port, found) for place in self._denied):
            raise OutOfReachError(f"{self._prefix}_DENIED denies {host}:{port}")
        named = [place for place in self._hosts if place.has(host, port, found)]
        if not any(place.port is not None for place in named) and await self._is_own(host, port, found):
            raise OutOfReachError(
                f"{host}:{port} is the agent's own engine, or itself: {self._prefix}_ALLOWED may allow it by host:port"
            )
        if not any(not place.is_any for place in named) and any(found in network for network in _METADATA):
            raise OutOfReachError(
                f"{host} is a link-local or metadata address: {self._prefix}_ALLOWED may allow it by name"
            )
        if self._hosts and not named:
            raise OutOfReachError(f"{self._prefix}_ALLOWED does not allow {host}:{port}")

    async def _is_own(self, host: str, port: int, address: _Address) -> bool:
        own = [name for name, its_port in self._own if its_port == port]
        if not own:
            return False
        if host in own:
            return True
        if anyio.current_time() - self._renewed_at > _RENEWED_AFTER_S:
            self._own_addresses = {name: frozenset(await _resolved(name)) for name, _ in self._own}
            self._renewed_at = anyio.current_time()
        addresses = frozenset[_Address]().union(*(self._own_addresses.get(name, ()) for name in own))
        # One machine has many addresses: whatever of it has the same port is taken for the same.
        return address in addresses or (_is_here(address) and any(_is_here(one) for one in addresses))


def literal_address(host: str) -> str | None:
    """Return the address that a host is instead of a name, in one of the ways of writing that systems take."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if host[:1].isdigit() else None
    except OSError:
        return None


def _plain(address: str) -> _Address:
    """Read an address; one of IPv4 that is written as one of IPv6 is what it leads to."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return found.ipv4_mapped or found.sixtofour or found
    return found


def _is_here(address: _Address) -> bool:
    """Tell whether an address is this machine's: only to such a socket can be bound."""
    if address.is_loopback or address.is_unspecified:
        return True
    try:
        family = socket.AF_INET6 if isinstance(address, ipaddress.IPv6Address) else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


async def _resolved(name: str) -> Sequence[_Address]:
    """Resolve a name; to nothing where that can't be done in time."""
    address = literal_address(name)
    if address is not None:
        return [_plain(address)]
    with anyio.move_on_after(_RESOLVED_WITHIN_S):
        try:
            found = await to_thread.run_sync(
                lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM), abandon_on_cancel=True
            )
        except (OSError, UnicodeError):
            return []
        return [_plain(str(where[0])) for *_, where in found]
    return []
