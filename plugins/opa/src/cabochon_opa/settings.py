"""What an operator can set for the store `OPA`: the peer's variables, with the peer's defaults."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from cabochon import CommaList, Seconds, Settings
from cabochon.settings import ConnRetryOptions

__all__ = ["OpaStoreSettings"]

_HEADER_TEXT = re.compile(r"[\x20-\x7e]+")
_ANY_SOCKET = "unix://"


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _stripped(value: object) -> object:
    return value.strip() or None if isinstance(value, str) else value


class OpaStoreSettings(Settings):
    """How OPA is reached, and how policies are delivered into it."""

    policy_store_url: str = Field(
        default="http://localhost:8181",
        validation_alias="OPAL_POLICY_STORE_URL",
        description="Where OPA answers: http://, https://, or unix:///path/of/a/socket.",
    )
    policy_store_timeout: Seconds = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        validation_alias="OPAL_POLICY_STORE_TIMEOUT",
        description="Seconds to wait for an answer of OPA's; compiling many policies takes it long.",
    )
    conn_retry: ConnRetryOptions | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_CONN_RETRY",
        description="Tries to connect to OPA within one request, as JSON: wait_strategy (fixed, exponential or"
        " random_exponential), wait_time and max_wait in seconds, attempts. Not set: one, for what could not be written"
        " is written again anyway when OPA is back. A commit waits no longer than OPAL_COMMIT_TIMEOUT in all.",
    )
    auth_type: Annotated[Literal["none", "token", "oauth", "tls"], BeforeValidator(_lower)] = Field(
        default="none",
        validation_alias="OPAL_POLICY_STORE_AUTH_TYPE",
        description="How we prove to OPA who we are: none, token, oauth (client credentials), or tls.",
    )
    auth_token: Annotated[SecretStr | None, BeforeValidator(_stripped)] = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_TOKEN",
        description="Bearer token for OPA, with OPAL_POLICY_STORE_AUTH_TYPE=token.",
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
    policy_paths_to_ignore: CommaList = Field(
        default=(),
        validation_alias="OPAL_POLICY_STORE_POLICY_PATHS_TO_IGNORE",
        description="Glob patterns of policies that are others' to load: never written or deleted. `dir/**` is all"
        " below dir, a leading ! takes out of the list.",
    )
    v0_compatible: bool = Field(
        default=True,
        validation_alias="OPAL_OPA_V0_COMPAT",
        description="Policies are Rego v0: inline OPA gets --v0-compatible.",
    )
    policy_delivery: Literal["rest", "bundle"] = Field(
        default="rest",
        validation_alias="OPAL_OPA_POLICY_DELIVERY",
        description="How policies get into OPA: `rest` works with any OPA, `bundle` is faster from some 100 on and"
        " needs an OPA that is configured to ask us; inline OPA is.",
    )
    bundle_service_addr: str = Field(
        default="127.0.0.1:8282",
        validation_alias="OPAL_OPA_BUNDLE_SERVICE_ADDR",
        description="Where we serve the policy bundle to OPA, with OPAL_OPA_POLICY_DELIVERY=bundle.",
    )
    exec_path: str | None = Field(
        default=None,
        validation_alias="OPAL_INLINE_OPA_EXEC_PATH",
        description="The opa executable, for inline OPA and to check policies; by default the one on PATH.",
    )

    split_root_data: bool = Field(
        default=False,
        validation_alias="OPAL_SPLIT_ROOT_DATA",
        description="Accepted because OPAL has it, and without effect: a document for the root is always written member"
        " by member, so it replaces what this agent keeps at the top and nothing that others put there.",
    )

    @field_validator("policy_store_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if url.startswith(_ANY_SOCKET):
            if not url.startswith(_ANY_SOCKET + "/") or len(url) == len(_ANY_SOCKET) + 1:
                raise ValueError("should give the whole path of the socket, as in unix:///run/opa.sock")
            return url
        return _http_url(url, "should be http://host:port, https://host:port or unix:///path/of/a/socket")

    @field_validator("auth_token", "oauth_server", "oauth_client_id", "oauth_client_secret", "tls_client_cert")
    @classmethod
    def _is_there_if_needed(cls, value: object, info: ValidationInfo) -> object:
        needed_by = {"auth_token": "token", "tls_client_cert": "tls"}.get(info.field_name or "", "oauth")
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
        return url if url is None else _http_url(url, "should be a URL such as https://login.example.com/oauth/token")

    @field_validator("tls_client_key")
    @classmethod
    def _has_its_certificate(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is not None and info.data.get("tls_client_cert", key) is None:
            raise ValueError("is of no use without OPAL_POLICY_STORE_TLS_CLIENT_CERT")
        return key


def _http_url(url: str, expected: str) -> str:
    try:
        parts = urlsplit(url)
        complete = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        complete = False
    if not complete or not url.isprintable() or " " in url:
        raise ValueError(expected)
    return url
