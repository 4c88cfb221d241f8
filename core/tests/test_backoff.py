"""Waits grow, spread, and never get longer or shorter than promised."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.backoff import Backoff

seconds = st.floats(0.001, 1_000)


@given(seconds, seconds, st.integers(1, 10_000), st.randoms(use_true_random=False))
def test_wait_is_between_half_a_step_and_a_step(first_s: float, longest_s: float, tries: int, random: Random) -> None:
    """
    The step doubles with each try up to the longest, and the wait lies in its upper half.
    """
    step = min(longest_s, first_s * 2.0 ** min(tries - 1, 30))
    wait = Backoff(first_s=first_s, longest_s=longest_s, random=random).wait_s(tries)

    assert step / 2 <= wait <= step


@given(st.integers(1, 100), seconds)
def test_wait_honours_what_the_other_side_asked_for(tries: int, asked_s: float) -> None:
    """
    `Retry-After` makes a wait longer, even longer than the longest, and never shorter.
    """
    backoff = Backoff(random=Random(tries))  # noqa: S311
    plain = Backoff(random=Random(tries)).wait_s(tries)  # noqa: S311

    assert max(plain, asked_s) == backoff.wait_s(tries, at_least_s=asked_s)


@pytest.mark.parametrize("tries", [1, 5])
def test_agents_spread_out(tries: int) -> None:
    """
    Agents that fail at the same time do not come back at the same time.
    """
    waits = {Backoff().wait_s(tries) for _ in range(20)}

    assert len(waits) > 10
