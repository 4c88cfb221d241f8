"""What an operator can set for the store `OPA`: the peer's variables, with the peer's defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from cabochon import CommaList
from cabochon.kit.http.store_connection import StoreConnectionSettings, http_url

__all__ = ["OpaStoreSettings", "own_addresses"]

_ANY_SOCKET = "unix://"


class OpaStoreSettings(StoreConnectionSettings):
    """How OPA is reached, and how policies are delivered into it."""

    policy_store_url: str = Field(
        default="http://localhost:8181",
        validation_alias="OPAL_POLICY_STORE_URL",
        description="Where OPA answers: http://, https://, or unix:///path/of/a/socket.",
    )
    policy_paths_to_ignore: CommaList = Field(
        default=(),
        validation_alias="OPAL_POLICY_STORE_POLICY_PATHS_TO_IGNORE",
        description="Glob patterns of policies that are others' to load: never written or deleted. `dir/**` is all"
        " below dir, a leading ! takes out of the list.",
    )
    keep_policies_of_others: bool = Field(
        default=False,
        validation_alias="OPAL_OPA_KEEP_POLICIES_OF_OTHERS",
        description="Leave policies in OPA that this agent did not write. By default, as in OPAL, a complete policy"
        " bundle removes all that are not in it, not in `system`, not ignored and not in a bundle that OPA loads;"
        " with OPAL_OPA_POLICY_DELIVERY=bundle they always stay.",
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
        return http_url(url, "should be http://host:port, https://host:port or unix:///path/of/a/socket")


def own_addresses(settings: OpaStoreSettings) -> tuple[str, ...]:
    """Say where OPA answers, and where we serve its bundle."""
    return (settings.policy_store_url, f"http://{settings.bundle_service_addr}")
