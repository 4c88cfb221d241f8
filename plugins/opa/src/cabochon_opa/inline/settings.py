"""What an operator can set for inline OPA: the peer's variables, members and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cabochon_opa.settings import OpaStoreSettings

__all__ = ["InlineOpaSettings", "LogFormat", "OpaServerOptions"]

LogFormat = Literal["none", "minimal", "http", "full"]


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _option(field: str) -> str:
    """Spell a field as `opa run` does: `--tls-cert-file` for `tls_cert_file`."""
    return "--" + field.replace("_", "-")


class OpaServerOptions(BaseModel):
    """The value of `OPAL_INLINE_OPA_CONFIG`: options of `opa run --server`, as `addr` or `--addr`.

    Members that are not listed here are kept in `model_extra`, and not passed on: the peer leaves them out too.

    Attributes:
        addr: where OPA listens: `[ip]:port`, `https://[ip]:port`, or `unix:///path`; several with commas between.
        authentication: how clients prove who they are.
        authorization: "basic" has OPA ask the policy `system.authz` about each request.
        config_file: OPA's own configuration file.
        tls_ca_cert_file: whom OPA trusts to sign clients' certificates, with authentication "tls".
        tls_cert_file: OPA's certificate; with it, OPA speaks HTTPS.
        tls_private_key_file: the key of that certificate.
        tls_cert_refresh_period: how often OPA reads both again, such as `10m`.
        log_level: how much OPA says; see `OPAL_INLINE_OPA_LOG_FORMAT` for how much of it is logged.
        files: policies and data that OPA loads when it starts.
        v0_compatible: policies are Rego v0; so they are if `OPAL_OPA_V0_COMPAT` says so.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, alias_generator=_option)

    addr: Annotated[str, Field(min_length=1)] = "0.0.0.0:8181"
    authentication: Literal["off", "token", "tls"] = "off"
    authorization: Literal["off", "basic"] = "off"
    config_file: str | None = None
    tls_ca_cert_file: str | None = None
    tls_cert_file: str | None = None
    tls_private_key_file: str | None = None
    tls_cert_refresh_period: str | None = None
    log_level: Literal["debug", "info", "error"] = "info"
    files: tuple[str, ...] | None = None
    v0_compatible: bool = False


class InlineOpaSettings(OpaStoreSettings):
    """How OPA is run beside the agent; what the store knows of this OPA belongs to it."""

    inline_enabled: bool = Field(
        default=True,
        validation_alias="OPAL_INLINE_OPA_ENABLED",
        description="Run OPA ourselves: started before the agent writes, started again when it dies, stopped last.",
    )
    inline_options: OpaServerOptions = Field(
        default=OpaServerOptions(),
        validation_alias="OPAL_INLINE_OPA_CONFIG",
        description="How inline OPA is run, as JSON: addr, authentication, authorization, config_file,"
        " tls_ca_cert_file, tls_cert_file, tls_private_key_file, tls_cert_refresh_period, log_level, files,"
        " v0_compatible. OPAL_POLICY_STORE_URL must lead to the same address.",
    )
    inline_log_format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        default="none",
        validation_alias="OPAL_INLINE_OPA_LOG_FORMAT",
        description="What of inline OPA's log goes into ours: none (only warnings and errors), minimal (each message),"
        " http (with method, path and status), or full (everything).",
    )
