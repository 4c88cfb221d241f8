"""The company of the demo: made up, shipped with the package (`make_company.py` writes it)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeAlias

from cabochon.schemas import PolicyBundle, RegoModule

__all__ = ["COLLECTIONS", "Company", "Document", "read_company"]

COLLECTIONS = ("users", "roles", "resources")
"""Its base data: one document each, from one data source each."""

Document: TypeAlias = dict[str, Any]

_PACKAGE = re.compile(r"^package\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Company:
    """Its data by collection, and its policies."""

    data: dict[str, Document]
    bundle: PolicyBundle

    @property
    def records(self) -> int:
        """How many users, roles and resources there are."""
        return sum(map(len, self.data.values()))

    @property
    def policies(self) -> dict[str, str]:
        """Source of each policy by its path in the bundle."""
        return {module.path: module.rego for module in self.bundle.policy_modules}


def read_company() -> Company:
    """Read the package data."""
    folder = files("cabochon_demo") / "company"
    data = {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in COLLECTIONS}
    modules: list[RegoModule] = []
    for file in sorted((folder / "policies").iterdir(), key=lambda one: one.name):
        rego = file.read_text("utf-8")
        package = _PACKAGE.search(rego)
        modules.append(RegoModule(path=file.name, package_name=package[1] if package else "", rego=rego))
    digest = hashlib.sha256("\0".join(module.rego for module in modules).encode()).hexdigest()
    bundle = PolicyBundle(
        manifest=tuple(module.path for module in modules),
        hash=digest,
        data_modules=(),
        policy_modules=tuple(modules),
    )
    return Company(data, bundle)
