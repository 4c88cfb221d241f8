"""One atomic `PATCH /v1/data` for each commit: guard, documents, health state and ownership together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import structlog

from cabochon.documents.path import DocumentPath
from cabochon.errors import PatchFailedError, PathConflictError, StateLostError, StoreRejectedError
from cabochon.transactions.changes import Changes, DataChange, Guard, Marker, PatchData, SetData
from cabochon.transactions.commit_result import CommitResult
from cabochon_opa.client import EngineAnswer, OpaClient
from cabochon_opa.data import bookkeeping
from cabochon_opa.data.base_documents import ask_kinds, try_out
from cabochon_opa.data.commit_tree import CommitTree, Kind
from cabochon_opa.data.known_objects import KnownObjects
from cabochon_opa.data.our_documents import OurDocuments
from cabochon_opa.data.owned_list import OWNED, OwnedList
from cabochon_opa.data.plan import Place, Plan, RefusedChange
from cabochon_opa.data.planner import overlap, paths_to_ask_for, plan
from cabochon_opa.policies.delivery import PolicyDelivery
from cabochon_opa.refusals import refusal

__all__ = ["DataWriter"]

log = structlog.get_logger()

_OK, _BAD_REQUEST, _NOT_FOUND = 204, 400, 404
_SEARCHED_BYTES = 1_000_000
_NAMED_PATH = re.compile(r"(?:conflicting rule for data path|\bpath) (\S+) (?:found|is owned by bundle)")
_OWNED_BY_BUNDLE: Final = b"is owned by bundle"
_ATTEMPTS: Final = 3
_PASSING: Final = "cabochon-makes-parents"


class DataWriter:
    """Turns commits into patches, and keeps what has to be known of OPA's documents for that.

    Args:
        client: asks OPA.
        policies: who may have to make room for documents.
        documents: where our documents are; kept up to date.
    """

    def __init__(self, client: OpaClient, policies: PolicyDelivery, documents: OurDocuments) -> None:
        self._client = client
        self._policies = policies
        self._documents = documents
        self._known = KnownObjects()
        self._owned: OwnedList | None = None
        self._prepared = False

    def forget(self) -> None:
        """Know nothing of OPA any more: it may be another one."""
        self._known = KnownObjects()
        self._owned = None
        self._documents.forget()
        self._prepared = False

    # ------------------------------------------------------------------------------------------------ committing

    async def commit(self, changes: Changes, places: Sequence[Place]) -> CommitResult:
        """Write the documents of a commit: `places` are all of them, in order, the listeners' last.

        Raises:
            RequestUnansweredError: it may have landed.
            StoreUnavailableError: nothing has landed.
            StateLostError: the guard failed; nothing has landed.
        """
        if changes.guard is not None and changes.guard.expects is None:
            self.forget()
        paths = [place.change.path for place in places if place.change.path]
        with self._documents.being_written(paths):
            if self._policies.blocks(paths):
                await self._policies.make_room(paths)
            return await self._commit(changes, places)

    async def _commit(self, changes: Changes, places: Sequence[Place]) -> CommitResult:
        attempt = 0
        while (result := await self._try(changes, places, attempt)) is None:
            # What was known of OPA's documents is no longer so: somebody else writes there, too.
            attempt += 1
            self._known.clear()
            self._prepared = False
        return result

    async def _try(self, changes: Changes, places: Sequence[Place], attempt: int) -> CommitResult | None:
        """Send the commit once; None if it should be planned anew."""
        if attempt or changes.guard is None or changes.guard.expects is None:
            await self._prepare(changes)
        overlapping = overlap(places)
        wanted = paths_to_ask_for(places, self._known, overlapping=overlapping)
        asked = await ask_kinds(self._client, wanted, self._known)
        self._learn(asked)
        try:
            tree = CommitTree(self._known, asked)
            made = plan(self._head(changes), places, tree, overlapping=overlapping)
        except RefusedChange as err:
            await self._compare(changes.guard)
            return CommitResult.refused(changes, err.error, blame=err.place)
        owned = await self._owned_list(changes)
        edit = owned.edit(made, changes.claims, changes.releases)
        if not made.operations:
            return CommitResult.applied(changes)
        answer = await self._patch(made)
        if answer.status == _OK:
            self._note_documents(places)
            owned.landed(edit)
            self._note_ownership(changes)
            return CommitResult.applied(changes)
        if answer.status == _NOT_FOUND:
            await self._compare(changes.guard)
            if not attempt:
                return None
        if _OWNED_BY_BUNDLE in answer.body and attempt + 1 < _ATTEMPTS:
            paths = [place.change.path for place in places]
            if await self._make_parents(made) or await self._policies.make_room(paths):
                return None
        return await self._refused(changes, made, answer)

    def _learn(self, asked: Mapping[tuple[str, ...], Kind]) -> None:
        for path, kind in asked.items():
            # Not below arrays, whose elements move.
            if kind == "object" and not any(asked.get(path[:depth]) == "array" for depth in range(1, len(path))):
                self._known.learn(path)

    def _note_documents(self, places: Sequence[Place]) -> None:
        for place in places:
            change = place.change
            if isinstance(change, PatchData):
                for operation in change.operations:
                    by_object = operation.op != "remove" and (operation.value or b"").lstrip().startswith(b"{")
                    self._known.replaced(change.path.joined(operation.path), by_object=by_object)
            else:
                by_object = isinstance(change, SetData) and change.value.lstrip().startswith(b"{")
                self._known.replaced(change.path, by_object=by_object)

    async def _patch(self, made: Plan) -> EngineAnswer:
        # Until there is an answer, nothing is known: the call may be cancelled, or the answer be lost.
        known, self._known = self._known, KnownObjects()
        owned, self._owned = self._owned, None
        answer = await self._client.ask("PATCH", "/v1/data", content=made.body())
        self._known, self._owned = known, owned
        return answer

    async def _make_parents(self, made: Plan) -> bool:
        """Make the missing parents beforehand, one level further down: a bundle with a root below keeps us from it.

        OPA lets nobody patch a path above a root, yet makes parents there for a `PUT`.
        """
        for parent in made.new_parents:
            path = "/".join(("/v1/data", *(quote(segment, safe="") for segment in (*parent, _PASSING))))
            answer = await self._client.ask("PUT", path, content=b"{}", headers={"If-None-Match": "*"})
            if answer.status == _OK:
                await self._client.ask("DELETE", path)
        return bool(made.new_parents)

    async def _prepare(self, changes: Changes) -> None:
        """See that the store's own documents have parents."""
        needed = changes.guard is not None or changes.claims or changes.state
        if needed and not self._prepared:
            for path in bookkeeping.PARENTS:
                await self._client.ask("PUT", path, content=b"{}", headers={"If-None-Match": "*"})
            self._prepared = True

    def _head(self, changes: Changes) -> Plan:
        head = Plan()
        if changes.guard is not None:
            bookkeeping.add_guard(head, changes.guard)
        return head

    # ------------------------------------------------------------------------------------------------- ownership

    async def _owned_list(self, changes: Changes) -> OwnedList:
        if self._owned is None and (changes.claims or changes.releases):
            self._owned = OwnedList.read(await self._client.ask("GET", OWNED))
        return self._owned or OwnedList({})

    def _note_ownership(self, changes: Changes) -> None:
        self._documents.release(changes.releases)
        self._documents.claim(changes.claims)

    # --------------------------------------------------------------------------------------------------- asking

    async def read_marker(self) -> Marker | None:
        """Return the marker that OPA holds."""
        return bookkeeping.marker_in(await self._client.ask("GET", bookkeeping.COMMIT))

    async def owned_paths(self) -> list[DocumentPath]:
        """Return the paths that agents claimed."""
        return OwnedList.read(await self._client.ask("GET", OWNED)).paths()

    async def _compare(self, guard: Guard | None) -> None:
        if guard is None or guard.expects is None:
            return
        found = await self.read_marker()
        if found != guard.expects:
            self.forget()
            raise StateLostError(f"OPA holds the marker {found}, not {guard.expects}")

    # ------------------------------------------------------------------------------------------------- refusals

    async def _refused(self, changes: Changes, made: Plan, answer: EngineAnswer) -> CommitResult:
        place = _named(made, answer) or await self._guilty(made)
        if place is None:
            return CommitResult.refused(changes, refusal(answer))
        return CommitResult.refused(changes, _blamed(place.change, answer), blame=place.blame)

    async def _guilty(self, made: Plan) -> Place | None:
        """Find the operation that OPA refuses, by letting it try ever shorter beginnings that can't land."""
        servants = [place for place in made.places if place is not None]
        if all(place is servants[0] for place in servants):
            return servants[0] if servants else None
        if sum(map(len, made.operations)) > _SEARCHED_BYTES:
            return None
        good, bad = 0, len(made.operations)
        while bad - good > 1:
            middle = (good + bad) // 2
            possible, _ = await try_out(self._client, made, first=middle)
            if possible:
                good = middle
            else:
                bad = middle
        return made.places[bad - 1]


def _named(made: Plan, answer: EngineAnswer) -> Place | None:
    """Find the change that writes where the answer says the conflict is."""
    found = _NAMED_PATH.search(str(refusal(answer)))
    if found is None:
        return None
    named = f"/{found[1].strip('/')}/"
    for place in reversed(made.places):
        if place is not None:
            written = "/" + "".join(f"{segment}/" for segment in place.change.path)
            if named.startswith(written) or written.startswith(named):
                return place
    return None


def _blamed(change: DataChange, answer: EngineAnswer) -> StoreRejectedError:
    path = str(change.path)
    error = refusal(answer, path)
    if isinstance(change, PatchData) and not isinstance(error, PathConflictError):
        return PatchFailedError(str(error), path=path)
    return error
