"""Whatever happens, the engine ends up with what the model holds, and never pretends on the way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from .checks import play
from .scenarios import Fetch, Plan, Reconnect, Scenario, Send, Trouble, calm, picky, stormy

pytestmark = pytest.mark.timeout(400)
"""Much to compute: on a machine that does other work it takes minutes."""

many = settings(max_examples=5 * settings().max_examples)


@many
@given(calm)
def test_scenario_with_a_healthy_engine_ends_as_the_model(scenario: Scenario) -> None:
    """What was saved, applied one by one in order of arrival, is what the engine holds."""
    play(scenario)


@many
@given(stormy)
def test_scenario_with_an_engine_in_trouble_ends_as_the_model(scenario: Scenario) -> None:
    """Lost answers, outages and an engine that empties between any two awaits lose nothing and apply nothing twice."""
    play(scenario)


@many
@given(picky)
def test_scenario_with_an_engine_that_changes_its_mind_ends_as_the_model(scenario: Scenario) -> None:
    """What it refuses once it is back, or does not take back, is out of sync; what was before is in force."""
    play(scenario)


@pytest.mark.parametrize("path", ["/a", "/b"], ids=["ours", "nobodys"])
@pytest.mark.parametrize("patch", [[], [{"op": "move", "from": "/x", "path": "/x"}]], ids=["empty", "move"])
def test_patch_that_changes_nothing_is_not_out_of_sync_once_the_engine_is_back(
    path: str, patch: list[dict[str, str]]
) -> None:
    """There is nothing to restore for it, and so nothing that would say that it was."""
    put = Send(0.0, (Plan("/a", {"x": 1}, "PUT", None),))
    play(Scenario((Trouble(0.0, "down", 7.0), put, Send(0.0, (Plan(path, patch, "PATCH", None),)))))


def test_retry_that_was_put_off_makes_up_for_what_failed_beside_its_first_try() -> None:
    """The engine is away when the retry comes, and holds it in the end: nothing below it is out of sync any more."""
    whole = Plan("/", {"a": {}}, "PUT", Fetch(0.0, failures=2))
    play(Scenario((Send(0.0, (Plan("/system/opal", {"ready": True}), whole)), Trouble(0.0, "down", 7.0))))


def test_patch_that_does_not_apply_is_out_of_sync_whatever_was_put_off_around_it() -> None:
    """A document that is written before it and patched after it, while the engine is away, makes up for neither."""
    add = {"op": "add", "value": 0}
    writes = (
        Plan("/a", {}),
        Plan("/a", [{**add, "path": "/l/-"}], "PATCH"),
        Plan("/a", [{**add, "path": "/y"}], "PATCH"),
    )
    play(Scenario((Trouble(0.0, "down", 7.0), *(Send(0.0, (write,)) for write in writes))))


@pytest.mark.parametrize("first", [Plan("/a/x/z", "bad"), Plan("/a/x/z", 1, "PUT", Fetch(0.0, failures=4))])
def test_entry_that_failed_is_refused_with_what_covers_it_once_the_engine_is_back(first: Plan) -> None:
    """It does not apply, or can't be fetched; its own update replaces the whole document, which the engine refuses."""
    before, after = Plan("/a", {"x": "bad", "l": []}), Plan("/a", {"x": "bad", "l": [0]})
    troubles = (Trouble(0.0, "strict", 0.0), Trouble(0.0, "down", 7.0))
    play(Scenario((Send(0.0, (before,)), *troubles, Send(0.0, (first, after))), blames=False))


def test_every_report_has_its_follow_up_when_one_try_is_that_of_several() -> None:
    """The same update comes twice, its fetch fails twice, and the engine is away when it succeeds."""
    send = Send(0.0, (Plan("/a", {}, "PUT", Fetch(0.0, failures=4)),))
    play(Scenario((Trouble(0.0, "down", 7.0), send, Send(0.1, send.plans, again=0))))


def test_first_policies_are_written_again_if_the_engine_is_emptied_before_their_answer() -> None:
    """It hangs when they come, takes them, loses everything in the same moment, and only then says that it has them."""
    troubles = (Trouble(0.0, "hangs", 2.0), Trouble(2.0, "emptied", 0.05))
    sends = (Send(0.0, (Plan("/", 5),)), Send(2.0, (Plan("/a", {}),)))
    reconnects = tuple(Reconnect(at, resumed=False) for at in (0.0, 0.0, 0.01))
    base = (Plan("/a", {}, "PUT", Fetch(0.0)),)
    play(Scenario((*troubles, *sends, *reconnects), base, blames=False, policies=True))


def test_retry_that_is_put_off_does_not_make_what_was_put_off_before_it_older() -> None:
    """It is of an older update, and writes around the newer one's document: both are in force in the end."""
    two = (Plan("/a", {}), Plan("/", {"a": {}, "a2": 1}, "PUT", Fetch(0.0, failures=2)))
    sends = (Send(0.0, writes) for writes in ((Plan("/a", {}),), two, (Plan("/a", {}),)))
    play(Scenario((Trouble(0.0, "down", 7.0), *sends), blames=False))


def test_patch_that_is_fetched_again_while_the_engine_is_away_is_in_sync_when_it_is_back() -> None:
    """The update's other entry was in force before: what waits is the patch alone."""
    two = (Plan("/a/x", {}), Plan("/a", [{"op": "remove", "path": "/x"}], "PATCH", Fetch(0.0, failures=2)))
    play(Scenario((Send(0.0, (Plan("/a", {}),)), Send(0.0, two), Trouble(0.0, "down", 7.0)), blames=False))


def test_document_that_is_not_taken_back_is_replaced_by_an_update_that_also_writes_below_it() -> None:
    """What is below it is refused for that reason; what replaces it is in force."""
    troubles = (Trouble(0.01, "strict", 0.0), Trouble(0.01, "emptied", 0.05))
    send = Send(0.01, (Plan("/a/x", {"z": 2}), Plan("/a", {})))
    play(Scenario((*troubles, send), (Plan("/a", {"x": "bad", "l": []}),), blames=False))


def test_write_that_does_not_apply_to_what_is_refused_once_the_engine_is_back_stays_refused() -> None:
    """It is out of sync, as is what was in its way."""
    base = (Plan("/a", {"x": "bad", "l": []}), Plan("/a/x/z", {}))
    play(Scenario((Trouble(0.0, "strict", 0.0), Trouble(0.0, "down", 7.0)), base, blames=False))


def test_patch_that_makes_the_document_anew_and_removes_it_leaves_nothing() -> None:
    """There is no document then, not one that is null."""
    operations = [{"op": "add", "path": "", "value": 0}, {"op": "remove", "path": ""}]
    play(Scenario((Send(0.0, (Plan("/a", {}),)), Send(0.0, (Plan("/a", operations, "PATCH"),))), blames=False))
