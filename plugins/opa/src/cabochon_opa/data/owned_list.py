"""The list of owned paths, as it is kept in OPA below `/system/cabochon/owned`: pages, each a text with a JSON array.

Texts, and few of them, for two reasons that were measured. What a commit claims is one operation, however many paths it
has, and OPA's time grows with the operations. And in each patch that writes below `/system`, OPA copies all documents
there once for every rule of any package `system.*`: 10,000 members took it 16 ms a patch, 40 texts none to speak of.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from cabochon.documents.path import DocumentPath
from cabochon_opa.client import EngineAnswer
from cabochon_opa.data.plan import Plan

__all__ = ["OWNED", "OWNED_PATH", "OwnedEdit", "OwnedList"]

OWNED_PATH = ("system", "cabochon", "owned")
OWNED = "/v1/data/" + "/".join(OWNED_PATH)

OwnedEdit = dict[str, list[str]]
"""Pages by name as a commit leaves them; an empty one is gone."""

_PAGE = 400
"""Paths on a page at most, unless one commit claims more."""

_decode_list = msgspec.json.Decoder(list[str]).decode


class _Members(msgspec.Struct):
    result: dict[str, object] = {}


class OwnedList:
    """What OPA is known to hold, all of it: nobody else writes there without moving the marker."""

    def __init__(self, pages: OwnedEdit) -> None:
        self._pages: dict[str, list[str]] = {}
        self._page_of: dict[str, str] = {}
        self._last = 0
        self.landed(pages)

    @classmethod
    def read(cls, answer: EngineAnswer) -> OwnedList:
        """Read what OPA answers for `OWNED`; what is no page is not ours."""
        try:
            members = msgspec.json.decode(answer.body, type=_Members).result
        except msgspec.DecodeError:
            members = {}
        pages: OwnedEdit = {}
        for name, text in members.items():
            if isinstance(text, str) and name.isdecimal():
                try:
                    pages[name] = _decode_list(text)
                except msgspec.DecodeError:
                    continue
        return cls(pages)

    def paths(self) -> list[DocumentPath]:
        """All of them, sorted."""
        return sorted(map(DocumentPath.from_pointer, self._page_of))

    def edit(self, plan: Plan, claims: Iterable[DocumentPath], releases: Iterable[DocumentPath]) -> OwnedEdit:
        """Add the operations that put paths on the list and take others from it; a path in both stays on it.

        Returns:
            What to tell `landed` if the patch lands.
        """
        claimed = dict.fromkeys(path.pointer() for path in claims)
        released = {path.pointer() for path in releases}.difference(claimed).intersection(self._page_of)
        edit: OwnedEdit = {
            name: [pointer for pointer in self._pages[name] if pointer not in released]
            for name in {self._page_of[pointer] for pointer in released}
        }
        new = [pointer for pointer in claimed if pointer not in self._page_of]
        if new:
            name = str(self._last)
            before = edit.get(name, self._pages.get(name, []))
            if not before or len(before) + len(new) > _PAGE:
                name, before = str(self._last + 1), []
            edit[name] = before + new
        for name, pointers in edit.items():
            path = (*OWNED_PATH, name)
            if pointers:
                plan.add(None, path, msgspec.json.encode(msgspec.json.encode(pointers).decode()))
            else:
                plan.remove(None, path)
        return edit

    def landed(self, edit: OwnedEdit) -> None:
        """Take note that OPA holds these pages now."""
        for name, pointers in edit.items():
            for pointer in self._pages.pop(name, ()):
                self._page_of.pop(pointer, None)
            if pointers:
                self._pages[name] = pointers
            self._last = max(self._last, int(name))
        for name, pointers in edit.items():
            self._page_of.update(dict.fromkeys(pointers, name))
