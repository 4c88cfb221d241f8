"""What the scripted server has to tell: documents and policies, how they change, and what OPA should show of them."""

from __future__ import annotations

from collections import OrderedDict
from random import Random
from typing import Any

__all__ = ["AREAS", "TOPIC", "Model"]

TOPIC = "policy_data"
AREAS = 6
"""Documents that are base data sources; updates write inside them, so that a source asked anew covers what was lost."""
_KEYS = 8
_MODULES = 8
_COMMITS_KEPT = 12
_PADDING = "x" * 100

Json = dict[str, Any]


class Model:
    """The server's state. Each value that is written has a number of its own, larger than all before it.

    Attributes:
        documents: what a fetched update names, by number; one never changes.
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._number = 0
        self._areas = {str(area): {str(key): self._value() for key in range(_KEYS)} for area in range(AREAS)}
        self._modules = {f"app/m{number}.rego": number for number in range(_MODULES)}
        self._commits: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._commit = ""
        self.documents: dict[int, Json] = {}
        self.change_policies()

    def tree(self) -> Json:
        """Give what OPA should have below `data`, without `system`."""
        answers = {path.removeprefix("app/").removesuffix(".rego"): n for path, n in self._modules.items()}
        return {
            "areas": {area: dict(keys) for area, keys in self._areas.items()},
            "inline": {"always": ["the", "same"]},
            "app": {name: {"answer": number} for name, number in answers.items()},
        }

    def policies(self) -> dict[str, str]:
        """Give the text of each policy by its id."""
        return {path: _rego(path, number) for path, number in self._modules.items()}

    # --------------------------------------------------------------------------------------------- what is asked for

    def sources(self, url: str) -> Json:
        """Answer `GET /data/config`: each area from `url`, and one document inline."""
        fetched = [_entry(f"/areas/{area}", url=f"{url}/areas/{area}") for area in self._areas]
        return {"entries": [*fetched, _entry("/inline", data={"always": ["the", "same"]})]}

    def area(self, name: str) -> Json:
        """Answer for a base data source."""
        return self._areas[name]

    def bundle(self, base_hash: str | None) -> Json:
        """Answer `GET /policy`: a difference where the base is still known, else everything."""
        old = self._commits.get(base_hash or "")
        changed = {path: n for path, n in self._modules.items() if old is None or old.get(path) != n}
        gone = [path for path in old or {} if path not in self._modules]
        return {
            "manifest": list(changed),
            "hash": self._commit,
            "old_hash": base_hash if old is not None else None,
            "data_modules": [],
            "policy_modules": [
                {"path": path, "package_name": "", "rego": _rego(path, number)} for path, number in changed.items()
            ],
            "deleted_files": {"data_modules": [], "policy_modules": gone} if gone else None,
        }

    # ------------------------------------------------------------------------------------------------------- changes

    def next_update(self, url: str) -> Json:
        """Change documents; the update that says so. What it does not carry is to be had below `url`."""
        kinds = (self._put, self._fetched, self._pair, self._patch, self._whole)
        (made,) = self._chance.choices(kinds, (50, 20, 10, 15, 5))
        entries = made(url)
        return {"id": f"update-{self._number}", "entries": entries, "reason": "soak", "callback": {"callbacks": []}}

    def change_policies(self) -> Json:
        """Edit, remove or add policies; the message that says so."""
        before = self._commit
        self._number += 1
        self._modules[f"app/m{self._chance.randrange(_MODULES)}.rego"] = self._number
        if self._chance.random() < 0.3:
            self._modules.pop(f"app/m{self._chance.randrange(1, _MODULES)}.rego", None)
        self._commit = f"{self._number:040x}"
        self._commits[self._commit] = dict(self._modules)
        if len(self._commits) > _COMMITS_KEPT:
            self._commits.popitem(last=False)
        return {"old_policy_hash": before, "new_policy_hash": self._commit, "changed_directories": ["."]}

    def _put(self, _url: str) -> list[Json]:
        path, value = self._written()
        return [_entry(path, data=value)]

    def _fetched(self, url: str) -> list[Json]:
        path, value = self._written()
        self.documents[self._number] = value
        return [_entry(path, url=f"{url}/documents/{self._number}")]

    def _pair(self, url: str) -> list[Json]:
        return [*self._put(url), *self._fetched(url)]

    def _patch(self, _url: str) -> list[Json]:
        path, value = self._written()
        area, key = path.rsplit("/", 1)
        return [_entry(area, data=[{"op": "add", "path": f"/{key}", "value": value}]) | {"save_method": "PATCH"}]

    def _whole(self, _url: str) -> list[Json]:
        area = self._chance.choice(list(self._areas))
        self._areas[area] = {key: self._value() for key in self._areas[area]}
        return [_entry(f"/areas/{area}", data=dict(self._areas[area]))]

    def _written(self) -> tuple[str, Json]:
        area, key = self._chance.choice(list(self._areas)), str(self._chance.randrange(_KEYS))
        self._areas[area][key] = self._value()
        return f"/areas/{area}/{key}", self._areas[area][key]

    def _value(self) -> Json:
        self._number += 1
        return {"n": self._number, "padding": _PADDING}


def _entry(path: str, *, url: str = "", data: object = None) -> Json:
    return {"url": url, "config": None, "topics": [TOPIC], "dst_path": path, "save_method": "PUT", "data": data}


def _rego(path: str, number: int) -> str:
    return f"package {path.removesuffix('.rego').replace('/', '.')}\n\nanswer := {number}\n"
