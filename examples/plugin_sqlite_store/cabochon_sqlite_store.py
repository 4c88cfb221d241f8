"""A policy store in one SQLite file: a row for each top-level key and each policy, a transaction for each commit."""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any, TypeVar

from anyio import to_thread
from pydantic import Field

import cabochon as ps
from cabochon import CommitResult, DocumentPath, PolicyStore, PolicyStoreType, Settings, StoreTraits, errors, hookimpl
from cabochon.documents.json_values import JsonError, decode, encode

T = TypeVar("T")
GONE: Any = object()
TABLE = "CREATE TABLE IF NOT EXISTS kept (kind TEXT, key TEXT, value BLOB, PRIMARY KEY (kind, key))"


class SqliteStore(PolicyStore):
    traits = StoreTraits(policy_unit="files", data_unit="documents", atomic="commit")

    def __init__(self, file: str) -> None:
        self._file = file

    async def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in a thread. If it raises, the connection closes before the COMMIT, which takes it all back."""

        def run() -> T:
            try:
                with closing(sqlite3.connect(self._file, isolation_level=None)) as db:
                    db.execute(TABLE)
                    db.execute("BEGIN IMMEDIATE")
                    result = work(db)
                    db.execute("COMMIT")
                    return result
            except sqlite3.Error as err:
                raise errors.StoreUnavailableError(f"SQLite file {self._file}: {err}") from err

        return await to_thread.run_sync(run)

    async def commit(self, changes: ps.Changes) -> CommitResult:
        try:
            await self._transaction(lambda db: apply(db, changes))
        except errors.StoreRejectedError as err:
            return CommitResult.refused(changes, err)
        except JsonError as err:
            return CommitResult.refused(changes, errors.StoreRejectedError(f"no JSON: {err}"))
        return CommitResult.applied(changes)

    async def health(self) -> None:
        await self._transaction(marker)

    async def read_marker(self) -> ps.Marker | None:
        return await self._transaction(marker)

    async def get_policies(self) -> Mapping[str, str]:
        return await self._transaction(lambda db: load(db, "policy"))

    async def get_data(self, path: DocumentPath) -> bytes | None:
        found: Any = await self._transaction(lambda db: load(db, "data", *path[:1]))
        for segment in path:
            if (key := member(found, segment)) is None:
                return None
            found = found[key]
        return encode(found)


def load(db: sqlite3.Connection, kind: str, *key: str) -> dict[str, Any]:
    rows = db.execute(f"SELECT key, value FROM kept WHERE kind = ? {'AND key = ?' * len(key)}", (kind, *key))  # noqa: S608
    return {name: decode(value) for name, value in rows}


def save(db: sqlite3.Connection, kind: str, *key: str, values: Mapping[str, object]) -> None:
    db.execute(f"DELETE FROM kept WHERE kind = ? {'AND key = ?' * len(key)}", (kind, *key))  # noqa: S608
    db.executemany("INSERT INTO kept VALUES (?, ?, ?)", [(kind, name, encode(value)) for name, value in values.items()])


def marker(db: sqlite3.Connection) -> ps.Marker | None:
    return ps.Marker(**row) if (row := load(db, "marker")) else None


def apply(db: sqlite3.Connection, changes: ps.Changes) -> None:
    if changes.guard is not None:
        if changes.guard.expects not in (None, marker(db)):
            raise errors.StateLostError(f"{marker(db)} is in the SQLite file, not {changes.guard.expects}")
        save(db, "marker", values={"epoch": changes.guard.leaves.epoch, "number": changes.guard.leaves.number})
    for change in changes.flat():
        match change:
            case ps.SetData(path, value):
                save(db, "data", *path[:1], values=edited(load(db, "data", *path[:1]), path, decode(value)))
            case ps.DeleteData(path):
                save(db, "data", *path[:1], values=edited(load(db, "data", *path[:1]), path, GONE))
            case ps.PatchData(path):
                raise errors.UnsupportedOperationError(f"{path}: no patches here, only whole values", path=str(path))
            case ps.SetPolicy(name, source):
                save(db, "policy", name, values={name: source})
            case ps.DeletePolicy(name):
                save(db, "policy", name, values={})
            case ps.ReplacePolicies(policies):
                save(db, "policy", values=policies)


def member(node: Any, segment: str) -> Any:  # noqa: ANN401
    """The key or index under which a container has `segment`, None if it has not."""
    if node.__class__ is dict:
        return segment if segment in node else None
    return (
        next((index for index in range(len(node)) if str(index) == segment), None) if node.__class__ is list else None
    )


def edited(tree: dict[str, Any], path: DocumentPath, value: Any) -> dict[str, Any]:  # noqa: ANN401
    top: dict[str, Any] = {"root": tree}
    holder: Any = top
    key: Any = "root"
    for segment in path:
        if holder[key].__class__ is dict and value is not GONE:
            holder[key].setdefault(segment, {})
        holder, key = holder[key], member(holder[key], segment)
        if key is None and value is GONE:
            return tree
        if key is None:
            raise errors.PathConflictError(f"{path} runs through a scalar or beyond an array", path=str(path))
    holder[key] = value
    if value is GONE:
        del holder[key]
    root = top.get("root", {})
    if root.__class__ is not dict:
        raise errors.PathConflictError("the root must be an object", path="/")
    return root


class SqliteSettings(Settings):
    file: str = Field("cabochon.sqlite", validation_alias="OPAL_SQLITE_STORE_PATH", description="The SQLite file.")


@asynccontextmanager
async def open_store(settings: SqliteSettings) -> AsyncGenerator[SqliteStore]:
    yield SqliteStore(settings.file)


@hookimpl
def cabochon_policy_stores() -> list[PolicyStoreType]:
    return [PolicyStoreType(name="sqlite", summary="One SQLite file", open=open_store, settings=SqliteSettings)]
