"""The numbers of the newest data updates by topic: what the lag of agents is counted from; pure."""

from __future__ import annotations

from collections import deque

from cabochon import LogRecord
from cabochon_opal_server.delivery.agent_state import AgentState

__all__ = ["RecentNumbers"]

_MOST_TOPICS = 1_000_000


class RecentNumbers:
    """Remembers the newest `most` data updates, fewer where they go to many topics.

    Attributes:
        since: all data updates with numbers above this one are remembered.
    """

    def __init__(self, *, most: int = 10_000) -> None:
        self._most = most
        self._records: deque[tuple[int, tuple[str, ...]]] = deque()
        self._by_topic: dict[str, deque[int]] = {}
        self._topics = 0
        self.since = 0

    def begin(self, number: int) -> None:
        """Forget everything: what comes next has higher numbers than this."""
        self._records.clear()
        self._by_topic.clear()
        self._topics = 0
        self.since = number

    def add(self, record: LogRecord) -> None:
        """Remember a record, if it is a data update; numbers ascend."""
        if record.kind != "data":
            return
        self._records.append((record.number, record.topics))
        for topic in record.topics:
            self._by_topic.setdefault(topic, deque()).append(record.number)
        self._topics += len(record.topics)
        while len(self._records) > self._most or (self._topics > _MOST_TOPICS and len(self._records) > 1):
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self.since, topics = self._records.popleft()
        self._topics -= len(topics)
        for topic in topics:
            numbers = self._by_topic[topic]
            numbers.popleft()
            if not numbers:
                del self._by_topic[topic]

    def lag(self, agent: AgentState) -> int:
        """Count the data updates that the agent is meant to have, and that have not ended there.

        Of those that are older than what is remembered nobody knows whether they are for it: all of them count.
        """
        older = max(0, self.since - agent.ended) - sum(number <= self.since for number in agent.above)
        missing: set[int] = set()
        for topic in agent.topics:
            for number in reversed(self._by_topic.get(topic, ())):
                if number <= agent.ended:
                    break
                if number not in agent.above:
                    missing.add(number)
        return max(0, older) + len(missing)
