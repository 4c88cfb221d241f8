"""OpenFGA's HTTP API, as far as a store needs it: what it answers, typed, and what it refuses, as our errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import anyio
import msgspec

from cabochon.backoff import Backoff
from cabochon.errors import StateLostError, StoreRejectedError, StoreUnavailableError
from cabochon.kit.http.engine import EngineAnswer, EngineHttp, RequestUnansweredError
from cabochon_openfga.tuples import WireCondition, WireTuple

__all__ = ["ConditionConflictError", "ModelVersion", "NoModelError", "OpenFgaApi", "StoreInfo", "TuplePage"]

T = TypeVar("T")

_CREATED, _NO_CONTENT, _OK = 201, 204, 200
_NOT_FOUND, _CONFLICT, _TOO_MANY = 404, 409, 429
_TRIES = 5
_PAGE = 100


class ConditionConflictError(StoreRejectedError):
    """A tuple to be written is there with another condition; OpenFGA does not overwrite it."""


class NoModelError(StoreRejectedError):
    """There is no model to judge a tuple by; OpenFGA says so, too, of a store that it does not have."""


class StoreInfo(msgspec.Struct):
    """One store of OpenFGA's."""

    id: str
    name: str = ""


class ModelVersion(msgspec.Struct):
    """A model that is there: its id, and all of it."""

    id: str
    model: dict[str, Any]


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Stores(msgspec.Struct):
    stores: list[StoreInfo] = []
    continuation_token: str = ""


class _Models(msgspec.Struct):
    authorization_models: list[dict[str, Any]] = []


class _ModelId(msgspec.Struct):
    authorization_model_id: str


class _Key(msgspec.Struct):
    user: str
    relation: str
    object: str
    condition: WireCondition | None = None


class _Tuple(msgspec.Struct):
    key: _Key


class TuplePage(msgspec.Struct):
    """A page of what is in a store; `continuation_token` leads to the next, "" if there is none."""

    tuples: list[_Tuple] = []
    continuation_token: str = ""


class OpenFgaApi:
    """Asks one OpenFGA.

    A request that OpenFGA puts off (429, and 409 of two first writes at once) is made again a few times.

    Args:
        http: how it is asked.
        backoff: how long to wait before a request is made again.
    """

    def __init__(self, http: EngineHttp, backoff: Backoff | None = None) -> None:
        self._http = http
        self._backoff = backoff or Backoff(first_s=0.05, longest_s=2.0)

    async def health(self) -> None:
        """Return if it serves.

        Raises:
            StoreUnavailableError: it does not.
        """
        answer = await self._http.ask("GET", "/healthz")
        if answer.status != _OK:
            raise StoreUnavailableError(f"OpenFGA answers /healthz with {answer.status}")

    async def store(self, store_id: str) -> StoreInfo | None:
        """Return a store by its id, None if it is not there."""
        try:
            return await self._asked("GET", f"/stores/{store_id}", kind=StoreInfo)
        except StateLostError:
            return None

    async def stores_named(self, name: str) -> Sequence[StoreInfo]:
        """Return the stores with this name; OpenFGA lets several have one."""
        found = await self._asked("GET", f"/stores?page_size={_PAGE}&name={quote(name, safe='')}", kind=_Stores)
        return [store for store in found.stores if store.name == name]

    async def create_store(self, name: str) -> StoreInfo:
        """Make a store."""
        return await self._asked("POST", "/stores", {"name": name}, kind=StoreInfo)

    async def delete_store(self, store_id: str) -> None:
        """Remove a store with all that is in it."""
        answer = await self._http.ask("DELETE", f"/stores/{store_id}")
        if answer.status not in {_NO_CONTENT, _NOT_FOUND}:
            raise _error(answer.status, _problem(answer))

    async def latest_model(self, store_id: str) -> ModelVersion | None:
        """Return the model that is in force, None if there is none."""
        path = f"/stores/{store_id}/authorization-models?page_size=1"
        found = (await self._asked("GET", path, kind=_Models)).authorization_models
        return ModelVersion(str(found[0].get("id")), found[0]) if found else None

    async def write_model(self, store_id: str, model: Mapping[str, Any]) -> str:
        """Put a model in force, and return its id."""
        path = f"/stores/{store_id}/authorization-models"
        return (await self._asked("POST", path, model, kind=_ModelId)).authorization_model_id

    async def write(self, store_id: str, *, writes: Sequence[WireTuple], deletes: Sequence[WireTuple]) -> None:
        """Write and delete tuples in one call, all or nothing; what is so already is fine.

        Raises:
            ConditionConflictError: one is there with another condition.
            NoModelError: there is no model, or no store.
            StoreRejectedError: OpenFGA refuses one; the message names it.
        """
        body: dict[str, object] = {}
        if writes:
            body["writes"] = {"tuple_keys": writes, "on_duplicate": "ignore"}
        if deletes:
            body["deletes"] = {"tuple_keys": deletes, "on_missing": "ignore"}
        await self._asked("POST", f"/stores/{store_id}/write", body, kind=dict[str, Any])

    async def read(self, store_id: str, *, key: WireTuple | None = None, after: str = "") -> TuplePage:
        """Return a page of the tuples: of all, or the one with this key."""
        body: dict[str, object] = {"page_size": _PAGE, "consistency": "HIGHER_CONSISTENCY"}
        if key is not None:
            body["tuple_key"] = key
        if after:
            body["continuation_token"] = after
        return await self._asked("POST", f"/stores/{store_id}/read", body, kind=TuplePage)

    async def _asked(
        self, method: Literal["GET", "POST"], path: str, body: object | None = None, *, kind: type[T]
    ) -> T:
        content = None if body is None else msgspec.json.encode(body)
        tries = 0
        while True:
            tries += 1
            answer = await self._http.ask(method, path, content=content)
            if answer.status in {_OK, _CREATED}:
                return _decoded(answer, kind)
            problem = _problem(answer)
            may_pass = answer.status == _TOO_MANY or (
                answer.status == _CONFLICT and "different condition" not in problem.message
            )
            if not may_pass:
                raise _error(answer.status, problem)
            if tries >= _TRIES:
                raise StoreUnavailableError(f"OpenFGA puts us off with {answer.status}: {problem.message}")
            await anyio.sleep(self._backoff.wait_s(tries))


def _decoded(answer: EngineAnswer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.DecodeError as err:
        raise RequestUnansweredError(f"OpenFGA answers {answer.status} with what nobody understands: {err}") from err


def _problem(answer: EngineAnswer) -> _Problem:
    try:
        return msgspec.json.decode(answer.body, type=_Problem)
    except msgspec.DecodeError:
        return _Problem(message=answer.body[:200].decode("utf-8", "replace"))


def _error(status: int, problem: _Problem) -> Exception:
    if status == _NOT_FOUND and problem.code == "store_id_not_found":
        return StateLostError("OpenFGA does not have our store any more")
    if status == _CONFLICT:
        return ConditionConflictError(f"OpenFGA: {problem.message}")
    if problem.code == "latest_authorization_model_not_found":
        return NoModelError("OpenFGA has no authorization model yet: tuples wait for the policies")
    return StoreRejectedError(f"OpenFGA: {problem.message or f'answers with {status}'}")
