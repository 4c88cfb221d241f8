"""What an operator can set for the store `OPA`: the peer's variables, with the peer's defaults."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from cabochon import CommaList, Seconds, Settings

__all__ = ["OpaStoreSettings"]


class OpaStoreSettings(Settings):
    """How OPA is reached, and how policies are delivered into it."""

    policy_store_url: str = Field(
        default="http://localhost:8181",
        validation_alias="OPAL_POLICY_STORE_URL",
        description="Where OPA answers: http://, https://, or unix:///path/of/a/socket.",
    )
    policy_store_timeout: Seconds = Field(
        default=timedelta(seconds=30),
        validation_alias="OPAL_POLICY_STORE_TIMEOUT",
        description="Seconds to wait for an answer of OPA's; compiling many policies takes it long.",
    )
    auth_type: Literal["none", "token", "oauth", "tls"] = Field(
        default="none",
        validation_alias="OPAL_POLICY_STORE_AUTH_TYPE",
        description="How we prove to OPA who we are: none, token, oauth (client credentials), or tls.",
    )
    auth_token: SecretStr | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_TOKEN",
        description="Bearer token for OPA, with OPAL_POLICY_STORE_AUTH_TYPE=token.",
    )
    oauth_server: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_OAUTH_SERVER",
        description="URL that gives tokens for client credentials, with OPAL_POLICY_STORE_AUTH_TYPE=oauth.",
    )
    oauth_client_id: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_AUTH_OAUTH_CLIENT_ID",
        description="Our client id at the OAuth server.",
    )
    oauth_client_secret: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="OPAL_POLICY_STORE_AUTH_OAUTH_CLIENT_SECRET",
        description="Our client secret at the OAuth server.",
    )
    tls_client_cert: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_TLS_CLIENT_CERT",
        description="PEM file with our certificate, with OPAL_POLICY_STORE_AUTH_TYPE=tls.",
    )
    tls_client_key: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_TLS_CLIENT_KEY",
        description="PEM file with the key of our certificate.",
    )
    tls_ca: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_TLS_CA",
        description="PEM file with the certificates to trust in place of the system's.",
    )
    policy_paths_to_ignore: CommaList = Field(
        default=(),
        validation_alias="OPAL_POLICY_STORE_POLICY_PATHS_TO_IGNORE",
        description="Glob patterns of policies that are others' to load: never written or deleted. `dir/**` is all below"
        " dir, a leading ! takes out of the list.",
    )
    v0_compatible: bool = Field(
        default=True,
        validation_alias="OPAL_OPA_V0_COMPAT",
        description="Policies are Rego v0: inline OPA and `opa check` get --v0-compatible.",
    )
    policy_delivery: Literal["rest", "bundle"] = Field(
        default="rest",
        validation_alias="OPAL_OPA_POLICY_DELIVERY",
        description="How policies get into OPA: `rest` works with any OPA, `bundle` is faster from some 100 on and needs"
        " an OPA that is configured to ask us; inline OPA is.",
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

    @field_validator("policy_store_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://", "unix://")):
            raise ValueError("should start with http://, https:// or unix://")
        return url

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        missing = {
            "token": "" if self.auth_token else "OPAL_POLICY_STORE_AUTH_TOKEN",
            "oauth": ", ".join(
                name
                for name, value in (
                    ("OPAL_POLICY_STORE_AUTH_OAUTH_SERVER", self.oauth_server),
                    ("OPAL_POLICY_STORE_AUTH_OAUTH_CLIENT_ID", self.oauth_client_id),
                )
                if not value
            ),
            "tls": "" if self.tls_client_cert else "OPAL_POLICY_STORE_TLS_CLIENT_CERT",
        }.get(self.auth_type)
        if missing:
            raise ValueError(f"OPAL_POLICY_STORE_AUTH_TYPE={self.auth_type} needs {missing}")
        return self
