"""TLS for the plugins that call others: whom to trust, and which certificate to show."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import Field

from cabochon.errors import ConfigurationError
from cabochon.settings.model import Settings

__all__ = ["ClientTlsSettings", "client_context"]


def client_context(
    *, verify: bool = True, ca_file: str | None = None, client_cert: str | None = None, client_key: str | None = None
) -> ssl.SSLContext:
    """Make the context of TLS connections that we open. It reads files, so call it off the event loop.

    Args:
        verify: False takes any certificate for any name.
        ca_file: PEM file with the certificates to trust *instead* of the system's.
        client_cert: PEM file with our own certificate, for mutual TLS, and its key if `client_key` is None.
        client_key: PEM file with the key, not encrypted.

    Raises:
        ConfigurationError: a file can't be read or does not hold what it should; the message names it.
    """
    if client_key and not client_cert:
        raise ConfigurationError("client_key is of no use without client_cert")
    for name, file in (("ca_file", ca_file), ("client_cert", client_cert), ("client_key", client_key)):
        _check_kind(name, file)
    try:
        context = ssl.create_default_context(cafile=ca_file and str(Path(ca_file).expanduser()))
    except OSError as err:
        raise ConfigurationError(f"ca_file {ca_file!r} holds no certificate to trust: {_reason(err)}") from err
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert:
        cert, key = (path and str(Path(path).expanduser()) for path in (client_cert, client_key))
        try:
            # An encrypted key must fail here: OpenSSL would ask for its password on the terminal.
            context.load_cert_chain(str(cert), key, password=_no_password)
        except (OSError, ValueError) as err:
            files = f"client_cert {client_cert!r}" + (f" with client_key {client_key!r}" if client_key else "")
            raise ConfigurationError(f"{files} can't be used: {_reason(err)}") from err
    return context


def _check_kind(name: str, file: str | None) -> None:
    """Make sure that reading a file ends: from a pipe, which an entry may name, it would not."""
    path = file and Path(file).expanduser()
    if path and path.exists() and not path.is_file():
        raise ConfigurationError(f"{name} {file!r} is no regular file")


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _reason(err: Exception) -> str:
    return (err.strerror if isinstance(err, OSError) else None) or str(err) or type(err).__name__


class ClientTlsSettings(Settings):
    """Whom a plugin trusts when it opens a connection: the peer's variables, with the peer's meaning."""

    self_signed_allowed: bool = Field(
        default=False,
        validation_alias="OPAL_CLIENT_SELF_SIGNED_CERTIFICATES_ALLOWED",
        description="Trust the certificates in OPAL_CLIENT_SSL_CONTEXT_TRUSTED_CA_FILE instead of the system's.",
    )
    trusted_ca_file: str | None = Field(
        default=None,
        validation_alias="OPAL_CLIENT_SSL_CONTEXT_TRUSTED_CA_FILE",
        description="PEM file with the certificates to trust, used only if"
        " OPAL_CLIENT_SELF_SIGNED_CERTIFICATES_ALLOWED is true.",
    )

    @property
    def ca_file(self) -> str | None:
        """The file to trust instead of the system's certificates, or None."""
        return self.trusted_ca_file if self.self_signed_allowed else None

    def client_context(self) -> ssl.SSLContext:
        """Make the context for connections that ask for nothing else.

        Raises:
            ConfigurationError: the file can't be used; the message names the variable.
        """
        try:
            return client_context(ca_file=self.ca_file)
        except ConfigurationError as err:
            raise ConfigurationError(f"OPAL_CLIENT_SSL_CONTEXT_TRUSTED_CA_FILE: {err}") from err
