"""The pair of keys: read, and seen to belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cabochon import ConfigurationError
from cabochon.kit.web.tokens import key_bytes, read_public_key
from cabochon_opal_server.security.settings import SecuritySettings

__all__ = ["KeyPair", "read_keys"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Two of cryptography's keys that belong together, and the public one as a JSON Web Key (RFC 7517)."""

    private: Any
    public: Any
    jwk: dict[str, Any]


def read_keys(settings: SecuritySettings) -> KeyPair | None:
    """Read both keys, None if neither is set; it may read files, so call it off the event loop.

    Raises:
        ConfigurationError: one of them is missing or no good, or they do not belong together.
    """
    if settings.private_key is None and settings.public_key is None:
        return None
    if settings.private_key is None:
        raise ConfigurationError("OPAL_AUTH_PUBLIC_KEY is set without OPAL_AUTH_PRIVATE_KEY: set both, or neither")
    if settings.public_key is None:
        raise ConfigurationError("OPAL_AUTH_PRIVATE_KEY is set without OPAL_AUTH_PUBLIC_KEY: set both, or neither")
    import jwt  # noqa: PLC0415 - only servers with keys pay for it

    public, private = read_public_key(settings), _private(settings, settings.private_key.get_secret_value())
    try:
        token = jwt.encode({"sub": "test"}, private, algorithm=settings.algorithm)
        jwt.decode(token, public, algorithms=[settings.algorithm])
    except jwt.InvalidSignatureError as err:
        raise ConfigurationError("OPAL_AUTH_PRIVATE_KEY and OPAL_AUTH_PUBLIC_KEY do not belong together") from err
    except (jwt.PyJWTError, TypeError, ValueError) as err:
        raise ConfigurationError(
            f"OPAL_AUTH_PRIVATE_KEY can't sign with OPAL_AUTH_JWT_ALGORITHM={settings.algorithm}: {err}"
        ) from err
    jwk: dict[str, Any] = jwt.get_algorithm_by_name(settings.algorithm).to_jwk(public, as_dict=True)
    return KeyPair(private, public, jwk)


def _private(settings: SecuritySettings, value: str) -> Any:  # noqa: ANN401 - one of cryptography's private keys
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    load: Any = {
        "ssh": serialization.load_ssh_private_key,
        "pem": serialization.load_pem_private_key,
        "der": serialization.load_der_private_key,
    }[settings.private_key_format]
    passphrase = settings.private_key_passphrase
    try:
        return load(key_bytes(value), None if passphrase is None else passphrase.get_secret_value().encode())
    except (ValueError, TypeError, OSError, UnsupportedAlgorithm) as err:
        # cryptography's own messages say nothing of the key itself.
        raise ConfigurationError(
            f"OPAL_AUTH_PRIVATE_KEY can't be used: {err}; it should be a key in the format "
            f"OPAL_AUTH_PRIVATE_KEY_FORMAT={settings.private_key_format}, or a file that holds one, with "
            "OPAL_AUTH_PRIVATE_KEY_PASSPHRASE if it is encrypted"
        ) from err
