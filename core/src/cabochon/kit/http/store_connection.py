"""What an operator can set for any engine that is reached over HTTP: the peer's variables, with the peer's defaults."""

from __future__ import annotations

import re
import ssl
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from cabochon.errors import ConfigurationError
from cabochon.kit.http.tls import client_context
from cabochon.settings.conn_retry import ConnRetryOptions
from cabochon.settings.model import Seconds, Settings

__all__ = ["StoreConnectionSettings", "http_url"]

_HEADER_TEXT = re.compile(r"[\x20-\x7e]+")


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _stripped(value: object) -> object:
    return value.strip() or None if isinstance(value, str) else value


class StoreConnectionSettings(Settings):
    """How an engine is asked; a store's own settings add where it is."""

    policy_store_timeout: Seconds = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        validation_alias="OPAL_POLICY_STORE_TIMEOUT",
        description="Seconds to wait for an answer of the engine's; compiling many policies takes it long.",
    )
    conn_retry: ConnRetryOptions | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_CONN_RETRY",
        description="Tries to connect to the engine within one request, as JSON: wait_strategy (fixed, exponential or"
        " random_exponential), wait_time and max_wait in seconds, attempts. Not set: one, for what could not be written"
        " is written again anyway when it is back. A commit waits no longer than OPAL_COMMIT_TIMEOUT in all.",
    )
    auth_type: Annotated[Literal["none", "token", "oauth", "tls"], BeforeValidator(_lower)] = Field(
        default="none",
        validation_alias="OPAL_POLICY_STORE_AUTH_TYPE",
        description="How we prove to the engine who we are: none, token, oauth (client credentials), or tls.",
    )
    auth_token_file: Annotated[str | None, BeforeValidator(_stripped)] = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_TOKEN_FILE",
        description="File that holds the bearer token, in place of OPAL_POLICY_STORE_AUTH_TOKEN. It is read again when"
        " the engine refuses the token, so that a new one needs no restart.",
    )
    auth_token: Annotated[SecretStr | None, BeforeValidator(_stripped)] = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_TOKEN",
        description="Bearer token for the engine, with OPAL_POLICY_STORE_AUTH_TYPE=token.",
    )
    oauth_server: Annotated[str | None, BeforeValidator(_stripped)] = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_OAUTH_SERVER",
        description="URL that gives tokens for client credentials, with OPAL_POLICY_STORE_AUTH_TYPE=oauth. Reached"
        " through the proxies of HTTPS_PROXY and NO_PROXY, trusted by the system's certificates or SSL_CERT_FILE.",
    )
    oauth_client_id: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_OAUTH_CLIENT_ID",
        description="Our client id at the OAuth server, with OPAL_POLICY_STORE_AUTH_TYPE=oauth.",
    )
    oauth_client_secret: SecretStr | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_OAUTH_CLIENT_SECRET",
        description="Our client secret at the OAuth server, with OPAL_POLICY_STORE_AUTH_TYPE=oauth.",
    )
    tls_client_cert: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_TLS_CLIENT_CERT",
        description="PEM file with our certificate, for OPAL_POLICY_STORE_AUTH_TYPE=tls; shown with other types, too.",
    )
    tls_client_key: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_TLS_CLIENT_KEY",
        description="PEM file with the key of our certificate, if that file does not hold it; not encrypted.",
    )
    tls_ca: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_TLS_CA",
        description="PEM file with the certificates to trust in place of the system's.",
    )

    @field_validator("auth_token", "oauth_server", "oauth_client_id", "oauth_client_secret", "tls_client_cert")
    @classmethod
    def _is_there_if_needed(cls, value: object, info: ValidationInfo) -> object:
        needed_by = {"auth_token": "token", "tls_client_cert": "tls"}.get(info.field_name or "", "oauth")
        if info.field_name == "auth_token" and info.data.get("auth_token_file") is not None:
            return value
        if value is None and info.data.get("auth_type") == needed_by:
            raise PydanticCustomError("missing", "must be set")
        return value

    @field_validator("auth_token")
    @classmethod
    def _fits_in_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not _HEADER_TEXT.fullmatch(token.get_secret_value()):
            raise ValueError("should be one line of ASCII characters")
        return token

    @field_validator("oauth_server")
    @classmethod
    def _is_a_url(cls, url: str | None) -> str | None:
        return url if url is None else http_url(url, "should be a URL such as https://login.example.com/oauth/token")

    @field_validator("tls_client_key")
    @classmethod
    def _has_its_certificate(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is not None and info.data.get("tls_client_cert", key) is None:
            raise ValueError("is of no use without OPAL_POLICY_STORE_TLS_CLIENT_CERT")
        return key

    def tls_context(self) -> ssl.SSLContext:
        """Make the context for connections to the engine. It reads files, so call it off the event loop.

        Raises:
            ConfigurationError: a file can't be used; the message names its variable.
        """
        if self.tls_ca:
            try:
                client_context(ca_file=self.tls_ca)
            except ConfigurationError as err:
                raise ConfigurationError(f"OPAL_POLICY_STORE_TLS_CA: {err}") from err
        names = "OPAL_POLICY_STORE_TLS_CLIENT_CERT" + (
            ", OPAL_POLICY_STORE_TLS_CLIENT_KEY" if self.tls_client_key else ""
        )
        try:
            return client_context(ca_file=self.tls_ca, client_cert=self.tls_client_cert, client_key=self.tls_client_key)
        except ConfigurationError as err:
            raise ConfigurationError(f"{names}: {err}") from err


def http_url(url: str, expected: str) -> str:
    """Return `url` if it is one with a scheme of HTTP and a host, else raise `ValueError` with what was `expected`."""
    try:
        parts = urlsplit(url)
        complete = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        complete = False
    if not complete or not url.isprintable() or " " in url:
        raise ValueError(expected)
    return url
