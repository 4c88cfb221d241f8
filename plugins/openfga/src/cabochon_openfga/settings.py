"""What an operator can set for the store `OPENFGA`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from cabochon.kit.http.store_connection import StoreConnectionSettings

__all__ = ["OpenFgaStoreSettings"]

_STORE_NAME = re.compile(r"[a-zA-Z0-9\s\.\-\/^_&@]{3,64}")
_STORE_ID = re.compile(r"[ABCDEFGHJKMNPQRSTVWXYZ0-9]{26}")


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class OpenFgaStoreSettings(StoreConnectionSettings):
    """How OpenFGA is reached, which of its stores is ours, and what becomes of others' tuples there."""

    policy_store_url: str = Field(
        default="http://localhost:8080",
        validation_alias="OPAL_POLICY_STORE_URL",
        description="Where OpenFGA's HTTP API answers: http:// or https://.",
    )
    store_id: str | None = Field(
        default=None,
        validation_alias="OPAL_OPENFGA_STORE_ID",
        description="The store to keep in sync, by its id; it must be there.",
    )
    store_name: str = Field(
        default="cabochon",
        validation_alias="OPAL_OPENFGA_STORE_NAME",
        description="The store to keep in sync, by its name, unless OPAL_OPENFGA_STORE_ID is set. Exactly one store may"
        " have it.",
    )
    create_store: bool = Field(
        default=True,
        validation_alias="OPAL_OPENFGA_STORE_CREATE",
        description="Make a store of that name if there is none. An OpenFGA that keeps everything in memory needs it to"
        " be filled again after a restart.",
    )
    prune: Annotated[Literal["owned", "all"], BeforeValidator(_lower)] = Field(
        default="owned",
        validation_alias="OPAL_OPENFGA_PRUNE",
        description="What goes of the tuples that are in the store already: `owned` removes only what this agent wrote,"
        " `all` removes every tuple that no update wrote once the first sync is complete.",
    )
    model: str | None = Field(
        default=None,
        validation_alias="OPAL_OPENFGA_MODEL",
        description="The file of the policy bundle that is the model (a .fga, a .json or an fga.mod), where there are"
        " several.",
    )
    cli_path: str | None = Field(
        default=None,
        validation_alias="OPAL_OPENFGA_CLI_PATH",
        description="The fga executable, which reads .fga files; by default the one beside Python, or on PATH.",
    )
    oauth_audience: str | None = Field(
        default=None,
        validation_alias="OPAL_OPENFGA_OAUTH_AUDIENCE",
        description="The audience to ask the OAuth server for, with OPAL_POLICY_STORE_AUTH_TYPE=oauth.",
    )
    oauth_scope: str | None = Field(
        default=None,
        validation_alias="OPAL_OPENFGA_OAUTH_SCOPE",
        description="The scopes to ask the OAuth server for, with spaces between.",
    )

    @field_validator("store_id")
    @classmethod
    def _is_an_id(cls, store_id: str | None) -> str | None:
        if store_id is not None and not _STORE_ID.fullmatch(store_id):
            raise ValueError("should be an id as OpenFGA gives it, 26 letters and digits")
        return store_id

    @field_validator("store_name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not _STORE_NAME.fullmatch(name):
            raise ValueError("should have 3 to 64 letters, digits, spaces or .-/^_&@")
        return name
