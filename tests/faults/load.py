"""Updates without end, and the model: what a serial application of all of them makes of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval, PolicyBundle, RegoModule

__all__ = ["Load", "policy_bundle"]

_PUTS = 1200
_LOGS = 32
_BASE = 40

Tree = dict[str, Any]
Entry = dict[str, Any]


def policy_bundle(version: int, *, more: str = "") -> PolicyBundle:
    """Two modules, one in need of the other; `more` names a third one. Valid as Rego v0 and v1."""
    sources = {
        "faults/base.rego": f"package faults.base\n\nversion := {version}\n",
        "faults/initial.rego": 'package faults.initial\n\nanswer := {"policy": data.faults.base.version}\n',
    }
    if more:
        sources[f"faults/{more}.rego"] = f'package faults.{more}\n\nanswer := "{more}"\n'
    return PolicyBundle(
        manifest=tuple(sources),
        hash=f"commit-{version}{more}",
        data_modules=(),
        policy_modules=tuple(RegoModule(path=path, package_name="", rego=text) for path, text in sources.items()),
    )


class Load:
    """Makes updates, each with an id of its own, and applies them to `model` one after the other.

    Attributes:
        model: all that OPA has to show in the end, but for `system`.
        made: how many updates there are so far.
        with_patches: some of them are JSON patches, which do not apply to just anything.
        appended: the ids that were appended to an array, each of which must be there once.
    """

    def __init__(self, chance: Random, *, name: str = "u", extra: Sequence[str] = ()) -> None:
        self._chance = chance
        self.name = name
        self.made = 0
        self.with_patches = True
        self.appended: list[str] = []
        self.model: Tree = {}
        documents: dict[str, Any] = {
            "/initial/a": {"version": 0},
            "/initial/b/c": ["deep", {"n": 1.0, "none": None}],
            "/load/logs": {str(number): [] for number in range(_LOGS)},
            "/load/board": {},
            "/load/area": {"x": {}},
            "/load/pair": {"left": "", "right": ""},
            **{f"/base/{number}": {"n": number} for number in range(_BASE)},
            **{path: {"of": name} for path in extra},
        }
        self.base = DataSourceConfig(
            entries=tuple(
                DataSourceEntryWithPollingInterval(url="", dst_path=path, data=msgspec.Raw(msgspec.json.encode(value)))
                for path, value in documents.items()
            )
        )
        for path, value in documents.items():
            self._apply(path, value)
        self.policies = policy_bundle(0)
        self.change_policies(self.policies)

    def change_policies(self, bundle: PolicyBundle) -> None:
        """From now on these are the policies."""
        self.policies = bundle
        version = int("".join(filter(str.isdecimal, bundle.hash)))
        made: Tree = {"base": {"version": version}, "initial": {"answer": {"policy": version}}}
        self.model["faults"] = made
        for module in bundle.policy_modules[2:]:
            name = module.path.removeprefix("faults/").removesuffix(".rego")
            made[name] = {"answer": name}

    def next(self) -> dict[str, Any]:
        """Make one more update."""
        self.made += 1
        update_id = f"{self.name}{self.made}"
        kinds = (self._put, self._pair, self._initial, self._area, self._append, self._edit_board)
        weights = (40, 8, 4, 6, 28, 14) if self.with_patches else (40, 8, 46, 6, 0, 0)
        (kind,) = self._chance.choices(kinds, weights)
        return {"id": update_id, "entries": kind(update_id)}

    # ------------------------------------------------------------------------------------------- kinds of updates

    def _put(self, update_id: str) -> list[Entry]:
        path = f"/load/put/{self._chance.randrange(_PUTS)}"
        return [self._entry(path, {"id": update_id, "n": self.made})]

    def _append(self, update_id: str) -> list[Entry]:
        self.appended.append(update_id)
        path = f"/load/logs/{self._chance.randrange(_LOGS)}"
        return [self._patch(path, {"op": "add", "path": "/-", "value": update_id})]

    def _edit_board(self, update_id: str) -> list[Entry]:
        board: Tree = self.model["load"]["board"]
        key = str(self._chance.randrange(30))
        if key not in board:
            operation = {"op": "add", "path": f"/{key}", "value": update_id}
        elif self._chance.random() < 0.4:
            operation = {"op": "remove", "path": f"/{key}"}
        elif self._chance.random() < 0.5:
            operation = {"op": "move", "from": f"/{key}", "path": f"/{self._chance.randrange(30)}"}
        else:
            operation = {"op": "replace", "path": f"/{key}", "value": update_id}
        return [self._patch("/load/board", operation)]

    def _pair(self, update_id: str) -> list[Entry]:
        return [self._entry("/load/pair/left", update_id), self._entry("/load/pair/right", update_id)]

    def _initial(self, update_id: str) -> list[Entry]:
        return [self._entry("/initial/a", {"version": self.made, "id": update_id})]

    def _area(self, update_id: str) -> list[Entry]:
        if self._chance.random() < 0.2:
            return [self._entry("/load/area", {"x": {"all": update_id}})]
        return [self._entry(f"/load/area/x/{self._chance.randrange(20)}", update_id)]

    def _entry(self, path: str, value: Any) -> Entry:  # noqa: ANN401 - any JSON
        self._apply(path, value)
        return {"url": "", "dst_path": path, "data": value}

    def _patch(self, path: str, operation: dict[str, Any]) -> Entry:
        target = self._at(path.split("/")[1:])
        key = operation["path"][1:]
        if operation["op"] == "move":
            target[key] = target.pop(operation["from"][1:])
        elif operation["op"] == "remove":
            del target[key]
        elif key == "-":
            target.append(operation["value"])
        else:
            target[key] = operation["value"]
        return {"url": "", "dst_path": path, "save_method": "PATCH", "data": [operation]}

    def _apply(self, path: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        *above, last = path.split("/")[1:]
        # A copy, for what is written below it later is not in the update.
        self._at(above)[last] = msgspec.json.decode(msgspec.json.encode(value))

    def _at(self, segments: Sequence[str]) -> Any:  # noqa: ANN401 - any JSON
        found: Any = self.model
        for segment in segments:
            found = found.setdefault(segment, {})
        return found
