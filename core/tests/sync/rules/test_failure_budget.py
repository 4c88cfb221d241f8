"""What fails is tried again so often in a second, however much it is."""

from __future__ import annotations

from cabochon.sync.rules.failure_budget import FailureBudget


def test_failures_are_tried_again_as_long_as_there_is_some_left() -> None:
    """
    What four seconds give is saved up; then it is as much as comes in.
    """
    budget = FailureBudget(10)
    for _ in range(40):
        assert 0.0 == budget.has_one_in_s(100.0)
        budget.failed(100.0)

    assert 0.1 == budget.has_one_in_s(100.0)
    assert 0.0 == budget.has_one_in_s(100.11)


def test_debt_is_bounded() -> None:
    """
    A million failures cost a pause of some seconds and not of a day.
    """
    budget = FailureBudget(10)
    for _ in range(10_000):
        budget.failed(100.0)
    assert 4.0 < budget.has_one_in_s(100.0) < 5.0


def test_small_budget_lets_something_be_tried_again_all_the_same() -> None:
    """
    One in ten seconds is one in ten seconds, and not none.
    """
    budget = FailureBudget(0.1)
    budget.failed(100.0)
    budget.failed(100.0)

    assert 0.0 < budget.has_one_in_s(100.0) < 30.0
    assert 0.0 == budget.has_one_in_s(140.0)
