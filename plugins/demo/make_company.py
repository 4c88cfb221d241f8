# ruff: noqa: INP001, SIM905 # a script, whose lists read best as text
"""Make up the company of `cabochon demo`: the same one each time, written as the demo's package data.

    python plugins/demo/make_company.py

Nobody in it is real, and nothing in it comes from anywhere but this file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

TARGET = Path(__file__).parent / "src" / "cabochon_demo" / "company"

SEED = 1851
USERS = 180
RESOURCES = 126

FIRST_NAMES = (
    "Ada Aiko Alma Amir Anouk Arjun Bela Bruno Carla Chidi Dana Davit Elif Emil Esra Farid Femi Greta Hana Hugo Ines "
    "Ivo Jana Joao Kaya Kofi Lena Leon Lucia Malik Mara Milo Mina Nadia Nils Noor Olga Omar Petra Priya Rafa Rosa "
    "Samir Selma Tariq Teo Uma Vera Wanda Yara Yusuf Zoe"
).split()
LAST_NAMES = (
    "Abara Adler Almeida Amari Arslan Bauer Becker Bello Berg Brandt Castro Chen Costa Dahl Diallo Duarte Eriksen "
    "Falk Faria Fischer Garcia Gupta Haddad Hansen Holm Ibarra Ito Jansen Jensen Kamau Kato Keller Kim Kovac Kumar "
    "Lang Larsen Lopez Maier Mensah Moreau Mori Mwangi Nakano Novak Okafor Olsen Ortega Park Patel Petrov Quist "
    "Ramos Reis Rossi Sato Schmidt Silva Singh Sokolov Sousa Steiner Tanaka Thiam Toth Usman Varga Vega Vogel Weber "
    "Winter Yilmaz Zeman"
).split()

DEPARTMENTS = {
    "engineering": ("engineer", 0.34),
    "operations": ("operator", 0.14),
    "sales": ("seller", 0.18),
    "support": ("agent", 0.16),
    "finance": ("accountant", 0.09),
    "people": ("recruiter", 0.09),
}

GRANTS: dict[str, dict[str, list[str]]] = {
    "engineer": {"repository": ["read", "write"], "wiki": ["read", "write"], "dashboard": ["read"]},
    "operator": {"repository": ["read"], "server": ["read", "restart"], "dashboard": ["read", "write"]},
    "seller": {"account": ["read", "write"], "report": ["read"], "wiki": ["read"]},
    "agent": {"ticket": ["read", "write"], "account": ["read"], "wiki": ["read"]},
    "accountant": {"ledger": ["read", "write"], "report": ["read", "write"], "account": ["read"]},
    "recruiter": {"file": ["read", "write"], "wiki": ["read", "write"]},
    "lead": {"report": ["read"], "dashboard": ["read"]},
    "auditor": {"ledger": ["read"], "report": ["read"], "file": ["read"]},
    "on-call": {"server": ["read", "restart"], "ticket": ["read", "write"]},
    "contractor": {"repository": ["read"], "wiki": ["read"]},
    "security": {"server": ["read"], "repository": ["read"], "account": ["read"]},
    "admin": {"*": ["read", "write"]},
}

KINDS = {
    "engineering": ("repository", "wiki"),
    "operations": ("server", "dashboard"),
    "sales": ("account", "report"),
    "support": ("ticket", "wiki"),
    "finance": ("ledger", "report"),
    "people": ("file", "wiki"),
}
THINGS = (
    "amber anchor aurora basalt beacon birch canyon cedar cobalt comet coral delta dune ember falcon fjord garnet "
    "glacier harbor heron indigo ivory jasper juniper kestrel lagoon larch linden maple marble meadow mesa nimbus "
    "onyx opal orchid osprey otter pebble pine prairie quartz raven reef ridge river saffron sierra slate sparrow "
    "spruce summit tundra umber vale violet willow wren zephyr zinc"
).split()


class Dice:
    """Chooses the same things on every Python: only `random()` is promised to stay as it is."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - it makes up names

    def chance(self, probability: float) -> bool:
        """Say yes so often."""
        return self._random.random() < probability

    def one_of(self, choices: Sequence[str]) -> str:
        """Choose one."""
        return choices[int(self._random.random() * len(choices))]

    def weighted(self, weights: dict[str, float]) -> str:
        """Choose one by its share of 1."""
        left = self._random.random()
        for choice, share in weights.items():
            left -= share
            if left < 0:
                return choice
        return next(reversed(weights))


def make_users(dice: Dice) -> dict[str, Any]:
    """Make up the people: the first of each department leads it."""
    shares = {department: share for department, (_, share) in DEPARTMENTS.items()}
    heads: dict[str, str] = {}
    users: dict[str, Any] = {}
    departments = [*DEPARTMENTS, *(dice.weighted(shares) for _ in range(USERS - len(DEPARTMENTS)))]
    for department in departments:
        first, last = dice.one_of(FIRST_NAMES), dice.one_of(LAST_NAMES)
        while f"{first}.{last}".lower() in users:
            first, last = dice.one_of(FIRST_NAMES), dice.one_of(LAST_NAMES)
        login = f"{first}.{last}".lower()
        roles = [DEPARTMENTS[department][0]]
        if department not in heads:
            roles.append("lead")
        roles += [
            role for role, share in (("on-call", 0.07), ("auditor", 0.03), ("security", 0.03)) if dice.chance(share)
        ]
        if dice.chance(0.06):
            roles = ["contractor"]
        head = heads.setdefault(department, login)
        users[login] = {
            "name": f"{first} {last}",
            "department": department,
            "roles": roles,
            "manager": None if head == login else head,
            "active": not dice.chance(0.04) or head == login,
        }
    return users


def make_resources(dice: Dice, users: dict[str, Any]) -> dict[str, Any]:
    """Make up what the company has, each thing owned by someone of its department."""
    resources: dict[str, Any] = {}
    while len(resources) < RESOURCES:
        department = dice.one_of(list(KINDS))
        kind = dice.one_of(KINDS[department])
        name = f"{kind}-{dice.one_of(THINGS)}"
        staff = [login for login, user in users.items() if user["department"] == department and user["active"]]
        resources.setdefault(
            name,
            {
                "kind": kind,
                "department": department,
                "owner": dice.one_of(staff),
                "sensitivity": dice.weighted({"internal": 0.7, "confidential": 0.22, "secret": 0.08}),
            },
        )
    return resources


def make_company() -> dict[str, Any]:
    """Make everything up: file name to document."""
    dice = Dice(SEED)
    users = make_users(dice)
    return {
        "users.json": users,
        "roles.json": {role: {"grants": grants} for role, grants in GRANTS.items()},
        "resources.json": make_resources(dice, users),
    }


def main() -> None:
    """Write the files."""
    for name, document in make_company().items():
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
        (TARGET / name).write_text(f"{{\n{lines}\n}}\n", "utf-8")


if __name__ == "__main__":
    main()
