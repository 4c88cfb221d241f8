"""What kind of value OPA's base documents hold, without waking a rule.

A query would answer with base and virtual documents alike, and evaluate rules for it: whatever they cost, whatever they
send. A patch sees base documents alone. So OPA is given patches that try something out and can't land: it carries a
patch out operation by operation, and the last one is always refused, with words of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from cabochon_opa.client import EngineAnswer, OpaClient
from cabochon_opa.data.commit_tree import Kind
from cabochon_opa.data.known_objects import KnownObjects
from cabochon_opa.data.plan import Plan

__all__ = ["ask_kinds", "try_out"]

_FAILS_AT_THE_END: Final = b'{"op":"add","path":"","value":0}'
_FAILED_AT_THE_END: Final = (b"root must be object", b"can't write to document root")
"""Without and with bundles."""
_IS_ARRAY: Final = b"array index must be integer"
_NO_INDEX: Final = "cabochon"
_FEW: Final = 8
"""Up to so many paths are tried out one by one."""

Path = tuple[str, ...]


async def try_out(client: OpaClient, plan: Plan, *, first: int | None = None) -> tuple[bool, bytes]:
    """Tell whether OPA could carry out the operations of a plan, or the `first` of them, and what it said if not.

    Conflicts with rules don't show: OPA looks for them at the end, which is never reached.
    """
    answer: EngineAnswer = await client.ask("PATCH", "/v1/data", content=plan.body(first=first, then=_FAILS_AT_THE_END))
    return any(words in answer.body for words in _FAILED_AT_THE_END), answer.body


async def ask_kinds(client: OpaClient, paths: Iterable[Path], known: KnownObjects) -> dict[Path, Kind]:
    """Find out what is at each of these paths; what is absent is not in the answer.

    Args:
        client: asks OPA.
        paths: with each of them all the paths above it, unless these are known.
        known: objects that need not be asked for.

    Raises:
        StoreUnavailableError: OPA does not answer.
    """
    found: dict[Path, Kind] = {}
    by_length: dict[int, list[Path]] = {}
    for path in paths:
        if path in known:
            found[path] = "object"
        else:
            by_length.setdefault(len(path), []).append(path)
    for length in sorted(by_length):
        # Nothing is below what is absent or a scalar.
        open_ones = [
            path for path in by_length[length] if path[:-1] in known or found.get(path[:-1]) in {"object", "array"}
        ]
        found.update(await _ask_level(client, open_ones))
    return found


async def _ask_level(client: OpaClient, paths: Sequence[Path]) -> dict[Path, Kind]:
    if len(paths) > _FEW:
        if await _all_objects(client, paths):
            return dict.fromkeys(paths, "object")
        return await _query(client, paths)
    return await _one_by_one(client, paths)


async def _one_by_one(client: OpaClient, paths: Iterable[Path]) -> dict[Path, Kind]:
    return {path: kind for path in paths if (kind := await _kind(client, path)) != "absent"}


async def _all_objects(client: OpaClient, paths: Iterable[Path]) -> bool:
    plan = Plan()
    for path in paths:
        plan.add(None, (*path, _NO_INDEX), b"null")
    possible, _ = await try_out(client, plan)
    return possible


async def _kind(client: OpaClient, path: Path) -> Kind:
    member = Plan()
    member.add(None, (*path, _NO_INDEX), b"null")
    possible, said = await try_out(client, member)
    if possible:
        return "object"
    if _IS_ARRAY in said:
        return "array"
    whole = Plan()
    whole.replace(None, path, b"null")
    possible, _ = await try_out(client, whole)
    return "scalar" if possible else "absent"


class _KindsAnswer(msgspec.Struct):
    result: list[dict[str, list[list[str]]]]


_QUERY_KINDS: dict[str, Kind] = {"object": "object", "array": "array"}


async def _query(client: OpaClient, paths: Sequence[Path]) -> dict[Path, Kind]:
    """Ask for many paths of one length at once. So many are documents of data, and seldom packages of rules."""
    reference = "".join(f"[path[{at}]]" for at in range(len(paths[0])))
    query = f"kinds := [kind | path := input[_]; kind := [name | name := type_name(data{reference})]]"
    answer = await client.ask("POST", "/v1/query", content=msgspec.json.encode({"query": query, "input": paths}))
    try:
        (result,) = msgspec.json.decode(answer.body, type=_KindsAnswer).result
    except (msgspec.DecodeError, ValueError):
        # A rule that can't be evaluated is in the way.
        return await _one_by_one(client, paths)
    return {
        path: _QUERY_KINDS.get(names[0], "scalar") for path, names in zip(paths, result["kinds"], strict=True) if names
    }
