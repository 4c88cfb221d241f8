"""A store that keeps the whole contract in the plainest way; broken stores derive from it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeGuard

from anyio.lowlevel import checkpoint

from cabochon.contract.policy_store import PolicyStore, StoreTraits
from cabochon.contract.powers import PolicyProblem
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import JsonError, decode, encode
from cabochon.documents.path import DocumentPath
from cabochon.errors import (
    PatchFailedError,
    PathConflictError,
    StateLostError,
    StoreRejectedError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from cabochon.transactions.changes import (
    Change,
    Changes,
    DeleteData,
    DeletePolicy,
    Marker,
    PatchData,
    ReplacePolicies,
    SetData,
)
from cabochon.transactions.commit_result import STATE, Blame, CommitResult

Json: TypeAlias = Any
NOTHING: Json = object()


def is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict)


def is_array(value: Json) -> TypeGuard[list[Json]]:
    return isinstance(value, list)


@dataclass
class Holding:
    """What the engine holds."""

    tree: dict[str, Json] = field(default_factory=dict[str, Json])
    policies: dict[str, str] = field(default_factory=dict[str, str])
    marker: Marker | None = None
    owned: list[DocumentPath] = field(default_factory=list[DocumentPath])
    up: bool = True


@dataclass
class Engine:
    """An engine, reached by any number of stores."""

    holds: Holding = field(default_factory=Holding)


class ReferenceStore(PolicyStore):
    """Every promise in a method of its own, so that a broken store overrides one."""

    traits: ClassVar[StoreTraits] = StoreTraits(
        policy_unit="files",
        data_unit="documents",
        atomic="commit",
        reserved=(DocumentPath(("system",)),),
    )

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine()

    @classmethod
    @asynccontextmanager
    async def opened(cls, engine: Engine) -> AsyncGenerator[ReferenceStore]:
        yield cls(engine)

    @property
    def patch_operations(self) -> frozenset[str]:
        return frozenset({"add", "remove", "replace"})

    async def commit(self, changes: Changes) -> CommitResult:
        await self.health()
        await checkpoint()
        return self.write(changes)

    def write(self, changes: Changes) -> CommitResult:
        self.compare(changes)
        before, place = deepcopy(self.engine.holds), Blame(0, 0)
        try:
            for number, write in enumerate((*(write.changes for write in changes.writes), changes.state)):
                for index, change in enumerate(write):
                    place = Blame(number if number < len(changes.writes) else STATE, index)
                    self.apply(self.engine.holds, change)
        except StoreRejectedError as err:
            self.undo(before)
            return CommitResult.refused(changes, err, blame=place)
        self.finish(self.engine.holds, changes)
        return CommitResult.applied(changes)

    def compare(self, changes: Changes) -> None:
        guard = changes.guard
        if guard is not None and guard.expects not in (None, self.engine.holds.marker):
            raise StateLostError("another marker")

    def undo(self, before: Holding) -> None:
        self.engine.holds = before

    def finish(self, holds: Holding, changes: Changes) -> None:
        if changes.guard is not None:
            holds.marker = changes.guard.leaves
        holds.owned = [path for path in holds.owned if path not in (*changes.releases, *changes.claims)]
        holds.owned += changes.claims

    def apply(self, holds: Holding, change: Change) -> None:
        match change:
            case SetData(path, value):
                self.put(holds.tree, path, self.decoded(value, path))
            case DeleteData(path):
                self.delete(holds.tree, path)
            case PatchData(path, operations):
                self.patch(holds.tree, path, operations)
            case ReplacePolicies(policies):
                holds.policies = dict(policies)
            case DeletePolicy(policy_id):
                holds.policies.pop(policy_id, None)
            case _:
                holds.policies[change.id] = change.source

    def decoded(self, raw: bytes, path: DocumentPath) -> Json:
        try:
            return decode(raw)
        except JsonError as err:
            raise StoreRejectedError(f"{path}: {err}") from err

    # ------------------------------------------------------------------------------------------------ documents

    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        if not path:
            self.put_root(tree, value)
            return
        node = tree
        for segment in path[:-1]:
            if is_object(node):
                node.setdefault(segment, {})
            node = self.child(node, segment)
        if is_object(node):
            node[path[-1]] = value
        elif self.child(node, path[-1]) is not NOTHING:
            node[int(path[-1])] = value
        else:
            raise PathConflictError(f"{path} has no parent", path=str(path))

    def put_root(self, tree: dict[str, Json], value: Json) -> None:
        if not is_object(value):
            raise PathConflictError("the root is an object", path="/")
        for key in tree.keys() - {"system"}:
            del tree[key]
        tree.update(value)

    def delete(self, tree: Json, path: DocumentPath) -> None:
        node = self.find(tree, path[:-1])
        if self.child(node, path[-1]) is not NOTHING:
            del node[path[-1] if is_object(node) else int(path[-1])]

    def patch(self, tree: Json, path: DocumentPath, operations: Sequence[PatchOperation]) -> None:
        for operation in operations:
            self.operate(tree, path, operation)

    def operate(self, tree: Json, document: DocumentPath, operation: PatchOperation) -> None:
        path = document.joined(operation.path)
        node = self.find(tree, path[:-1])
        found = self.find(tree, path)
        value = None if operation.value is None else self.decoded(operation.value, path)
        match operation.op:
            case "remove" if found is not NOTHING:
                self.delete(tree, path)
            case "replace" if found is not NOTHING:
                self.put(tree, path, value)
            case "add" if operation.path and is_object(node):
                node[path[-1]] = value
            case "add" if operation.path and is_array(node):
                self.insert(node, path, value)
            case "add" if not operation.path and found is not NOTHING:
                self.put(tree, path, value)
            case "move" | "copy" | "test":
                self.refuse_operation(path, operation.op)
            case _:
                raise PatchFailedError(f"{path}: nothing there", path=str(path))

    def insert(self, node: list[Json], path: DocumentPath, value: Json) -> None:
        places = {"-": len(node)} | {str(index): index for index in range(len(node) + 1)}
        if path[-1] not in places:
            raise PatchFailedError(f"{path}: no such index", path=str(path))
        node.insert(places[path[-1]], value)

    def refuse_operation(self, path: DocumentPath, op: str) -> None:
        raise UnsupportedOperationError(f"{path}: no operation {op} in this store", path=str(path))

    def child(self, node: Json, segment: str) -> Json:
        if is_object(node):
            return node.get(segment, NOTHING)
        if is_array(node):
            indexes = [index for index in range(len(node)) if str(index) == segment]
            return node[indexes[0]] if indexes else NOTHING
        return NOTHING

    def find(self, node: Json, path: Sequence[str]) -> Json:
        for segment in path:
            node = self.child(node, segment)
        return node

    # ------------------------------------------------------------------------------------------------ questions

    async def health(self) -> None:
        if not self.engine.holds.up:
            raise StoreUnavailableError("down")

    async def get_data(self, path: DocumentPath) -> bytes | None:
        value = self.find(self.engine.holds.tree, path)
        return None if value is NOTHING else encode(value)

    async def get_policies(self) -> Mapping[str, str]:
        return dict(self.engine.holds.policies)

    async def read_marker(self) -> Marker | None:
        return self.engine.holds.marker

    async def owned_paths(self) -> Sequence[DocumentPath]:
        return list(self.engine.holds.owned)

    async def restart_token(self) -> str:
        return "the only life"

    async def export_data(self) -> bytes:
        return encode(self.engine.holds.tree)

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        return [PolicyProblem(id=name, message="no") for name, source in policies.items() if "{{{" in source]
