"""Servers whose clocks differ, or are set: ages come from one clock, or from none."""

from __future__ import annotations

import pytest

from cabochon_opal_server.delivery.agent_state import AgentState
from cabochon_opal_server.delivery.clocks import steady_clock
from cabochon_opal_server.delivery.tracker import SILENT_AFTER_S, ServerState, Tracker

NOW = 1_800_000_000.0
HOUR = 3600.0


class Hub:
    """A log that nobody follows."""

    log_id = "log"
    number = 7


@pytest.mark.parametrize("skew", [-HOUR, 0.0, HOUR])
def test_server_with_another_clock_is_there_as_long_as_it_writes(skew: float) -> None:
    passed = 0.0
    tracker = Tracker("here", Hub(), lambda: NOW + passed, lambda: passed)
    agent = AgentState(name="a", server="there", connected_at=NOW + skew, last_seen=NOW + skew)

    def connected(seen_at: float) -> bool:
        tracker.take([agent], [ServerState(name="there", started_at=NOW + skew - 9, seen_at=NOW + skew + seen_at)])
        ((known, _told),) = tracker.agents()
        return known.disconnected_at is None

    for _ in range(5):
        assert connected(passed), "it has written since"
        passed += SILENT_AFTER_S - 1
    written_last = passed
    assert connected(written_last)
    passed += SILENT_AFTER_S + 1
    assert not connected(written_last), "it was silent for too long"
    assert connected(passed), "and is back"


def test_clock_that_is_set_moves_no_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock()
    before = clock()
    monkeypatch.setattr("time.time", lambda: before - HOUR)
    assert 0 <= clock() - before < 60
