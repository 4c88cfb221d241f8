"""What OPA's own configuration must say so that it asks us for its policies and tells us what became of them."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from cabochon.errors import ConfigurationError

__all__ = [
    "BUNDLE_NAME",
    "BUNDLE_RESOURCE",
    "SERVICE_NAME",
    "STATUS_RESOURCE",
    "bundle_config",
    "listen_address",
    "service_url",
]

SERVICE_NAME = "cabochon"
BUNDLE_NAME = "cabochon"
BUNDLE_RESOURCE = "/bundles/cabochon.tar.gz"
STATUS_RESOURCE = "/status"

_POLLING = {"min_delay_seconds": 1, "max_delay_seconds": 1, "long_polling_timeout_seconds": 30}
"""The delays bound how long OPA waits after a failure, two minutes by default; a long poll follows the last at once."""

_LAST_PORT = 65535
_ANY_HOST = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - read, not bound


def bundle_config(address: str, token: SecretStr | None = None) -> dict[str, Any]:
    """Return the part of OPA's configuration that has it load policies from us, ready to be written as JSON or YAML.

    Args:
        address: `OPAL_OPA_BUNDLE_SERVICE_ADDR`, `host:port`.
        token: `OPAL_OPA_BUNDLE_SERVICE_TOKEN`, which OPA then sends along.

    Raises:
        ConfigurationError: the address is none.
    """
    service: dict[str, Any] = {"url": service_url(address)}
    if token is not None:
        service["credentials"] = {"bearer": {"token": token.get_secret_value()}}
    return {
        "services": {SERVICE_NAME: service},
        "bundles": {BUNDLE_NAME: {"service": SERVICE_NAME, "resource": BUNDLE_RESOURCE, "polling": dict(_POLLING)}},
        "status": {"service": SERVICE_NAME},
    }


def service_url(address: str) -> str:
    """Return the URL at which an OPA beside us finds the service; `0.0.0.0` listens there too.

    Raises:
        ConfigurationError: the address is none.
    """
    host, port = listen_address(address)
    host = _ANY_HOST.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def listen_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`, `:port` or `[v6]:port`.

    OPA speaks HTTP over TCP to its services, and knows no Unix sockets there.

    Raises:
        ConfigurationError: the address is none.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    sound = colon and port.isascii() and port.isdigit() and int(port) <= _LAST_PORT and "/" not in host
    if not sound or (":" in host and not bracketed):
        msg = f"OPAL_OPA_BUNDLE_SERVICE_ADDR={address!r} should be host:port, for instance 127.0.0.1:8282"
        raise ConfigurationError(msg)
    return (host[1:-1] if bracketed else host), int(port)
