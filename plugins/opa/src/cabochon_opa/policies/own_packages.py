"""Packages that are the agent's own in OPA: a policy of a repository in one would say what the agent is to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cabochon.errors import StoreRejectedError
from cabochon_opa.policies.order import outline

__all__ = ["check_packages"]


def check_packages(policies: Mapping[str, str | None], own: Iterable[tuple[str, ...]]) -> None:
    """Make sure that no policy is in one of these packages, or above it where its rules would stand in their place.

    Raises:
        StoreRejectedError: one is; the message names it.
    """
    packages = [one for one in own if one]
    for policy_id, source in policies.items():
        if source is None or "system" not in source:
            continue
        package = outline(source).package
        if any(package[: len(one)] == one or (package and one[: len(package)] == package) for one in packages):
            name = ".".join(package)
            raise StoreRejectedError(
                f"{policy_id}: the package {name} is the agent's own: give yours another name", path=policy_id
            )
