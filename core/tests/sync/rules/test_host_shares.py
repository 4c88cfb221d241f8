"""However many hang, there is room for the others."""

from __future__ import annotations

from cabochon.sync.rules.host_shares import Shares


def taken(shares: Shares[str]) -> list[str]:
    items: list[str] = []
    while (item := shares.take()) is not None:
        items.append(item)
    return items


def test_one_host_has_half_of_the_workers_and_the_next_ones_the_rest() -> None:
    """
    In the order in which its work came.
    """
    shares: Shares[str] = Shares(32)
    for index in range(100):
        shares.add("one", f"one {index}")
    first = taken(shares)
    assert [f"one {index}" for index in range(16)] == first

    for item in first:
        shares.done(item, well=True)
    for index in range(100):
        shares.add("two", f"two {index}")
    items = taken(shares)
    assert [16, 16] == [len([item for item in items if item.startswith(name)]) for name in ("one", "two")]


def test_unproven_hosts_share_half_of_the_workers() -> None:
    """
    A thousand that were never asked leave half to one that does well.
    """
    shares: Shares[str] = Shares(32)
    shares.add("well", "first")
    shares.done(taken(shares)[0], well=True)
    for index in range(1_000):
        shares.add(f"new {index}", f"new {index}")
    assert 16 == len(taken(shares))
    shares.add("well", "second")
    assert ["second"] == taken(shares)


def test_host_that_failed_has_a_sixteenth_until_it_does_well() -> None:
    """
    What says nothing about it changes nothing.
    """
    shares: Shares[str] = Shares(32)
    for index in range(100):
        shares.add("one", f"{index}")
    for item in taken(shares):
        shares.done(item, well=False)

    first, second = taken(shares)
    shares.done(first, well=None)
    assert 1 == len(taken(shares))
    shares.done(second, well=True)
    assert 15 == len(taken(shares))


def test_what_is_withdrawn_is_never_taken() -> None:
    """
    And counts no more.
    """
    shares: Shares[str] = Shares(1)
    shares.add("one", "a")
    shares.add("one", "b")
    shares.withdraw("one", "a")

    assert 1 == len(shares)
    assert ["b"] == taken(shares)
    assert (0, 1) == (len(shares), shares.running)


def test_few_workers_are_not_shared_out() -> None:
    """
    Whoever asks for three fetches side by side gets three.
    """
    shares: Shares[str] = Shares(3)
    for index in range(5):
        shares.add("one", f"{index}")
    assert 3 == len(taken(shares))
