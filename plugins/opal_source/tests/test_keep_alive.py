"""When a quiet server is pinged, and when it counts as gone."""

from cabochon_opal_source.keep_alive import KeepAlive


def test_quiet_server_is_pinged_once_and_then_gone() -> None:
    """
    After the silence a ping, after as much again the end.
    """
    alive = KeepAlive(0, silence_s=20, call_every_s=0)

    assert (20, False, False) == (alive.next_at, alive.must_ping(19), alive.is_gone(20))
    assert alive.must_ping(20)
    assert (40, False, False) == (alive.next_at, alive.must_ping(30), alive.is_gone(39))
    assert alive.is_gone(40)


def test_anything_heard_is_life() -> None:
    """
    Whatever comes starts the silence anew.
    """
    alive = KeepAlive(0, silence_s=20, call_every_s=0)
    alive.must_ping(20)
    alive.heard(39, answered=True)

    assert (59, False) == (alive.next_at, alive.is_gone(40))
    assert alive.must_ping(59)


def test_calls_come_every_so_often_and_must_be_answered() -> None:
    """
    `_ping_` is called by the clock, not by silence; without its answer the server is gone, whatever else it says.
    """
    alive = KeepAlive(0, silence_s=20, call_every_s=5)
    assert not alive.must_call(4)
    alive.heard(4, answered=True)
    assert (5, True, False) == (alive.next_at, alive.must_call(5), alive.must_call(5))
    alive.heard(6, answered=True)
    assert alive.must_call(10)
    alive.heard(29, answered=False)

    assert not alive.is_gone(29)
    assert alive.is_gone(30)


def test_time_in_which_we_did_not_read_does_not_count() -> None:
    """
    A server whose answers wait behind what we have no room for is not gone.
    """
    alive = KeepAlive(0, silence_s=20, call_every_s=5)
    alive.must_ping(20)
    alive.must_call(20)
    alive.paused(1000)

    assert not alive.is_gone(1019)
    assert alive.is_gone(1020)
