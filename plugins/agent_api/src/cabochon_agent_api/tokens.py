"""Who may use the protected routes: whoever shows a JWT of a listener, as the peer's server issues them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from starlette.exceptions import HTTPException

from cabochon import ConfigurationError
from cabochon_agent_api.settings import AgentApiSettings

__all__ = ["Guard", "open_to_all", "read_public_key", "verifier"]

Guard = Callable[[str | None], None]
"""Takes an Authorization header and raises HTTPException 401 unless its token may use the protected routes."""

_LISTENER = "listener"


def open_to_all(authorization: str | None) -> None:
    """Let everyone in: for an agent without a public key."""


def verifier(settings: AgentApiSettings, key: Any) -> Guard:  # noqa: ANN401 - one of cryptography's public keys
    """Make the guard that checks tokens with this key."""
    import jwt  # noqa: PLC0415 - only agents that check tokens pay for it

    options: Any = {"require": ["exp", "aud", "iss"]}

    def guard(authorization: str | None) -> None:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _refused("access token was not provided")
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token.strip(),
                key,
                algorithms=[settings.algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                options=options,
            )
        except jwt.ExpiredSignatureError:
            raise _refused("Access token is expired") from None
        except jwt.InvalidAudienceError:
            raise _refused("Invalid access token: invalid audience claim") from None
        except jwt.InvalidIssuerError:
            raise _refused("Invalid access token: invalid issuer claim") from None
        except jwt.PyJWTError:
            raise _refused("Could not decode access token") from None
        _check_claims(claims)

    return guard


def _check_claims(claims: Mapping[str, Any]) -> None:
    try:
        UUID(str(claims.get("sub", "")))
    except ValueError:
        raise _refused("invalid sub claim") from None
    if claims.get("peer_type") != _LISTENER:
        raise _refused(f"the token must be of type {_LISTENER}, and is not")


def _refused(why: str) -> HTTPException:
    # The peer's shape; it adds the token itself, which is nobody's business.
    detail: Any = {"error": why}
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


def read_public_key(settings: AgentApiSettings) -> Any:  # noqa: ANN401 - one of cryptography's public keys
    """Read the key that tokens are checked with; it may read a file, so call it off the event loop.

    Raises:
        ConfigurationError: it is no key of that format, or no such algorithm can use it; the message names it.
    """
    import jwt  # noqa: PLC0415 - only agents that check tokens pay for these
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    load: Any = {
        "ssh": serialization.load_ssh_public_key,
        "pem": serialization.load_pem_public_key,
        "der": serialization.load_der_public_key,
    }[settings.public_key_format]
    try:
        key = load(_key_bytes(settings))
        jwt.get_algorithm_by_name(settings.algorithm).to_jwk(key)
    except (ValueError, TypeError, OSError, UnsupportedAlgorithm, NotImplementedError, jwt.PyJWTError) as err:
        raise ConfigurationError(
            f"OPAL_AUTH_PUBLIC_KEY can't be used: {err}; it should be a key in the format "
            f"OPAL_AUTH_PUBLIC_KEY_FORMAT={settings.public_key_format}, or a file that holds one, for "
            f"OPAL_AUTH_JWT_ALGORITHM={settings.algorithm}"
        ) from err
    return key


def _key_bytes(settings: AgentApiSettings) -> bytes:
    value = (settings.public_key or "").strip()
    try:
        path = Path(value).expanduser()
        if path.is_file():
            return path.read_bytes()
    except (OSError, ValueError, RuntimeError):
        pass  # a key is no good as the name of a file
    if settings.public_key_format == "ssh" or "\n" in value:
        return value.encode()
    return (value.replace("_", "\n") + "\n").encode()
