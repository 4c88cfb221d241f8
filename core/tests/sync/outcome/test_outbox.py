"""Every step of the outbox costs the same however much waits, and no receiver takes what others need."""

from __future__ import annotations

from collections.abc import Callable

from cabochon.contract.callback_reporter import Callback
from cabochon.sync.outcome.outbox import Delivery, Outbox, Receiver

Cost = Callable[[Callable[[], object]], int]


def delivery(url: str, update_id: str = "u") -> Delivery:
    return Delivery(Callback(url, {}), update_id, None, b"{}")


def taken(outbox: Outbox) -> list[Receiver]:
    receivers: list[Receiver] = []
    while (receiver := outbox.take()) is not None:
        receivers.append(receiver)
    return receivers


def test_reports_of_one_receiver_go_one_after_the_other() -> None:
    """
    In the order in which they were made.
    """
    outbox = Outbox(size=10, workers=10)
    for update_id in ("a", "b"):
        outbox.put(delivery("http://one", update_id))

    (first,) = taken(outbox)
    assert "a" == first.queue[0].update_id
    outbox.done(first, well=True)
    (second,) = taken(outbox)
    assert "b" == second.queue[0].update_id
    outbox.done(second, well=True)
    assert 0 == len(outbox)


def test_hosts_in_doubt_get_half_of_the_workers() -> None:
    """
    However many there are; a host that takes its reports has the rest.
    """
    outbox = Outbox(size=1_000, workers=16)
    outbox.put(delivery("http://well/first"))
    outbox.done(taken(outbox)[0], well=True)
    for index in range(100):
        outbox.put(delivery(f"http://doubtful-{index}/"))
        outbox.put(delivery(f"http://well/{index}"))

    hosts = [receiver.host for receiver in taken(outbox)]
    assert 8 == len([name for name in hosts if name.startswith("doubtful")])
    assert 8 == hosts.count("well")


def test_host_that_failed_is_tried_by_one_worker_until_it_takes_a_report() -> None:
    """
    Then it has its share again.
    """
    outbox = Outbox(size=1_000, workers=16)
    for index in range(20):
        outbox.put(delivery(f"http://host/{index}"))
    first = taken(outbox)
    assert 8 == len(first)
    for receiver in first:
        outbox.again(receiver, 10.0)

    (probe,) = taken(outbox)
    outbox.done(probe, well=True)
    assert 8 == len(taken(outbox))
    assert 10.0 == outbox.next_due_at()


def test_what_failed_comes_again_when_it_is_due() -> None:
    """
    Not before; its number of tries goes on.
    """
    outbox = Outbox(size=10, workers=2)
    outbox.put(delivery("http://one"))
    outbox.again(taken(outbox)[0], 5.0)

    outbox.wake(4.9)
    assert [] == taken(outbox)
    outbox.wake(5.0)
    assert [2] == [receiver.tries for receiver in taken(outbox)]


def test_receiver_with_most_reports_loses_its_oldest_that_is_not_under_way() -> None:
    """
    Others lose nothing to it; when everything is under way, what comes is dropped.
    """
    outbox = Outbox(size=4, workers=4)
    for update_id in ("a", "b", "c"):
        outbox.put(delivery("http://hangs", update_id))
    taken(outbox)
    outbox.put(delivery("http://other", "o"))

    dropped = outbox.put(delivery("http://third", "t"))
    assert dropped is not None
    assert "b" == dropped.update_id
    assert 4 == len(outbox)

    full = Outbox(size=1, workers=2)
    full.put(delivery("http://one", "a"))
    taken(full)
    refused = delivery("http://one", "b")
    assert refused == full.put(refused)


def test_two_thousand_receivers_cost_ten_times_what_two_hundred_do(cost: Cost) -> None:
    """
    And not a hundred times.
    """
    assert cost(lambda: play(2_000)) < 12 * cost(lambda: play(200))


def play(receivers: int) -> None:
    """Deliver to so many receivers, half of which the outbox has no room for."""
    outbox = Outbox(size=receivers // 2, workers=50)
    for index in range(receivers):
        outbox.put(delivery(f"http://host/{index}"))
    while len(outbox):
        for receiver in taken(outbox):
            outbox.done(receiver, well=True)
