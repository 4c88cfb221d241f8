"""JSON Web Tokens as OPAL uses them: whose key they are checked with, and what must hold for each.

PyJWT and cryptography come with the plugins that check tokens, and are imported only where tokens are in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from cabochon.errors import ConfigurationError
from cabochon.kit.extras import needs_extra
from cabochon.settings.model import NotBlank, Settings

__all__ = ["JwtSettings", "KeyFormat", "TokenError", "bearer_token", "key_bytes", "read_public_key", "verified_claims"]

KeyFormat = Literal["ssh", "pem", "der"]


class TokenError(Exception):
    """A token is missing or no good; the message says why and is fit for who showed it."""


class JwtSettings(Settings):
    """The settings that whoever checks tokens needs."""

    public_key: Annotated[str | None, NotBlank] = Field(
        default=None,
        validation_alias="OPAL_AUTH_PUBLIC_KEY",
        description="Public key that tokens are checked with, or the file that holds it. A PEM key may have _ for each "
        "newline. Unset: everyone may use the whole API.",
    )
    public_key_format: KeyFormat = Field(
        default="ssh",
        validation_alias="OPAL_AUTH_PUBLIC_KEY_FORMAT",
        description="Format of that key: ssh, pem or der.",
    )
    algorithm: str = Field(
        default="RS256",
        validation_alias="OPAL_AUTH_JWT_ALGORITHM",
        description="Algorithm that tokens are signed with.",
    )
    audience: str = Field(
        default="https://api.opal.ac/v1/",
        validation_alias="OPAL_AUTH_JWT_AUDIENCE",
        description="Audience (`aud`) that a token must be for.",
    )
    issuer: str = Field(
        default="https://opal.ac/",
        validation_alias="OPAL_AUTH_JWT_ISSUER",
        description="Issuer (`iss`) that a token must be from.",
    )


def bearer_token(authorization: str | None) -> str | None:
    """Take the token out of an Authorization header; None if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def verified_claims(token: str | None, key: Any, settings: JwtSettings) -> Mapping[str, Any]:  # noqa: ANN401 - one of cryptography's public keys
    """Check a token and return its claims: signed with the key, not expired, for us, by us, about a UUID.

    Raises:
        TokenError: one of these does not hold.
    """
    with needs_extra("web"):
        import jwt  # noqa: PLC0415 - only who checks tokens pays for it

    if token is None:
        raise TokenError("access token was not provided")
    options: Any = {"require": ["exp", "aud", "iss"]}
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[settings.algorithm],
            audience=settings.audience,
            issuer=settings.issuer,
            options=options,
        )
    except jwt.ExpiredSignatureError:
        raise TokenError("Access token is expired") from None
    except jwt.InvalidAudienceError:
        raise TokenError("Invalid access token: invalid audience claim") from None
    except jwt.InvalidIssuerError:
        raise TokenError("Invalid access token: invalid issuer claim") from None
    except jwt.MissingRequiredClaimError as err:
        raise TokenError(f"Invalid access token: it has no claim {err.claim}") from None
    except jwt.PyJWTError:
        raise TokenError("Could not decode access token") from None
    try:
        UUID(str(claims.get("sub", "")))
    except ValueError:
        raise TokenError("invalid sub claim") from None
    return claims


def read_public_key(settings: JwtSettings) -> Any:  # noqa: ANN401 - one of cryptography's public keys
    """Read the key that tokens are checked with; it may read a file, so call it off the event loop.

    Raises:
        ConfigurationError: it is no key of that format, or no such algorithm can use it; the message names it.
    """
    with needs_extra("web"):
        import jwt  # noqa: PLC0415 - only who checks tokens pays for these
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    load: Any = {
        "ssh": serialization.load_ssh_public_key,
        "pem": serialization.load_pem_public_key,
        "der": serialization.load_der_public_key,
    }[settings.public_key_format]
    try:
        key = load(key_bytes(settings.public_key or "", one_line=settings.public_key_format == "ssh"))
        jwt.get_algorithm_by_name(settings.algorithm).to_jwk(key)
    except (ValueError, TypeError, OSError, UnsupportedAlgorithm, NotImplementedError, jwt.PyJWTError) as err:
        raise ConfigurationError(
            f"OPAL_AUTH_PUBLIC_KEY can't be used: {err}; it should be a key in the format "
            f"OPAL_AUTH_PUBLIC_KEY_FORMAT={settings.public_key_format}, or a file that holds one, for "
            f"OPAL_AUTH_JWT_ALGORITHM={settings.algorithm}"
        ) from err
    return key


def key_bytes(value: str, *, one_line: bool = False) -> bytes:
    """Return a key that a variable holds or names the file of; in one line `_` stands for newlines.

    Raises:
        OSError: the file can't be read.
    """
    value = value.strip()
    try:
        path = Path(value).expanduser()
        if path.is_file():
            return path.read_bytes()
    except (OSError, ValueError, RuntimeError):
        pass  # a key is no good as the name of a file
    if one_line or "\n" in value:
        return value.encode()
    return (value.replace("_", "\n") + "\n").encode()
