"""The keys and the master token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from cabochon.kit.web.tokens import JwtSettings, KeyFormat
from cabochon.settings.model import NotBlank

__all__ = ["SecuritySettings"]


class SecuritySettings(JwtSettings):
    """The settings of tokens: with neither key the server is open to everyone who can reach it."""

    private_key: Annotated[SecretStr | None, NotBlank] = Field(
        default=None,
        validation_alias="OPAL_AUTH_PRIVATE_KEY",
        description="Private key that tokens are signed with, or the file that holds it. A PEM key may have _ for each "
        "newline.",
    )
    private_key_format: KeyFormat = Field(
        default="pem",
        validation_alias="OPAL_AUTH_PRIVATE_KEY_FORMAT",
        description="Format of that key: ssh, pem or der.",
    )
    private_key_passphrase: SecretStr | None = Field(
        default=None,
        validation_alias="OPAL_AUTH_PRIVATE_KEY_PASSPHRASE",
        description="Passphrase of that key, if it is encrypted.",
    )
    master_token: Annotated[SecretStr | None, NotBlank] = Field(
        default=None,
        validation_alias="OPAL_AUTH_MASTER_TOKEN",
        description="Secret that lets its holder make tokens. Unset: nobody can, where keys are set.",
    )
    jwks_url: str = Field(
        default="/.well-known/jwks.json",
        validation_alias="OPAL_AUTH_JWKS_URL",
        description="Route of the public key as a JSON Web Key Set.",
        pattern="^/",
    )
    jwks_static_dir: Path | None = Field(
        default=None,
        validation_alias="OPAL_AUTH_JWKS_STATIC_DIR",
        description="Accepted because OPAL has it, and without effect: the key set is served from memory.",
    )
