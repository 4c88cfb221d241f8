"""Recognise a copy: the same update again, under another of the agent's topics."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import msgspec

from cabochon.schemas import DataUpdate

__all__ = ["DuplicatesFilter"]

_REMEMBERED = 10_000


class DuplicatesFilter:
    """Remembers the newest updates by id and content, with the topics each came on."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._topics: OrderedDict[tuple[str | None, bytes], set[str]] = OrderedDict()

    def is_copy(self, update: DataUpdate, topic: str) -> bool:
        """Tell whether this is a copy of an update that came on another topic, and take note of it.

        The same update under the same topic again was sent again on purpose: it is no copy, and what follows it on the
        other topics are copies of it.
        """
        key = (update.id, hashlib.blake2b(msgspec.json.encode(update), digest_size=16).digest())
        seen = self._topics.get(key)
        if seen is not None and topic not in seen:
            seen.add(topic)
            return True
        self._topics[key] = {topic}
        self._topics.move_to_end(key)
        if len(self._topics) > self._remembered:
            self._topics.popitem(last=False)
        return False
