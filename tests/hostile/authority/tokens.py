"""A server with keys, and tokens of every kind that it makes."""

from __future__ import annotations

from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import rsa

from .programs import Program

__all__ = ["KEYS", "MASTER", "bearer", "token"]

MASTER = "the-master-token"


def _keys() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.TraditionalOpenSSL, forms.NoEncryption())
    public = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    return {
        "OPAL_AUTH_PRIVATE_KEY": private.decode().replace("\n", "_"),
        "OPAL_AUTH_PUBLIC_KEY": public.decode(),
        "OPAL_AUTH_MASTER_TOKEN": MASTER,
    }


KEYS = _keys()


def bearer(made: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {made}"}


def token(server: Program, kind: str, *, ttl: float = 600, **claims: Any) -> str:
    body = {"type": kind, "ttl": ttl, "claims": claims}
    answer = httpx.post(f"{server.url}/token", json=body, headers=bearer(MASTER), trust_env=False)
    assert 200 == answer.status_code, answer.text
    return answer.json()["token"]
