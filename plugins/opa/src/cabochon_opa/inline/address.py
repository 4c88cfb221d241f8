"""Where an OPA of ours listens, and how it is reached from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

__all__ = ["ListenAddress", "mismatch"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ANY_HOST = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """One address as `opa run --addr` takes it.

    Attributes:
        scheme: "http", "https" or "unix".
        host: as given, without brackets; "" for every interface.
        port: as given; None if there is none, or none that can be read.
        socket_path: of a Unix socket.
    """

    scheme: str
    host: str = ""
    port: int | None = None
    socket_path: str = ""

    @classmethod
    def parse(cls, addr: str, *, tls: bool) -> Self:
        """Read the first address of `addr`; one without a scheme is HTTPS if OPA has a certificate, as OPA sees it.

        What can't be read makes an address without a port: OPA itself says best what it makes of it.
        """
        first = addr.split(",", 1)[0].strip()
        if first.startswith("unix:"):
            return cls(scheme="unix", socket_path=first.removeprefix("unix:").removeprefix("//"))
        if "://" not in first:
            first = f"{'https' if tls else 'http'}://{first}"
        try:
            parts = urlsplit(first)
            return cls(scheme=parts.scheme, host=parts.hostname or "", port=parts.port)
        except ValueError:
            return cls(scheme=first.partition(":")[0])

    @property
    def url(self) -> str:
        """How a process beside OPA asks it; over a Unix socket the host is of no meaning."""
        if self.scheme == "unix":
            return "http://opa"
        host = _ANY_HOST.get(self.host, self.host)
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}{port}"

    def __str__(self) -> str:
        """Name the address as people write it in `OPAL_POLICY_STORE_URL`."""
        return f"unix://{self.socket_path}" if self.scheme == "unix" else self.url


def mismatch(store_url: str, address: ListenAddress) -> str | None:
    """Say in what `OPAL_POLICY_STORE_URL` leads elsewhere than to `address`; None if it may well lead there.

    Hosts are not compared: one machine has many names.
    """
    parts = urlsplit(store_url)
    if "unix" in {parts.scheme, address.scheme}:
        same = parts.scheme == address.scheme and parts.path == address.socket_path
        return None if same else "the one is a Unix socket that the other is not"
    if parts.scheme != address.scheme:
        return f"the one is {parts.scheme}, the other {address.scheme}"
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return None if address.port in {None, port} else f"port {port} is not port {address.port}"
