"""The transaction log: ready, healthy and in_sync from what has ended."""

from __future__ import annotations

import msgspec
import pytest

from cabochon.documents.path import DocumentPath
from cabochon.transactions.log import Half, TransactionLog
from cabochon.transactions.records import FailedPath, InitialSource, TransactionRecord

USERS = DocumentPath.parse("/users")
BOB = USERS / "bob"
ROLES = DocumentPath.parse("/roles")


def _landed(number: int, *paths: DocumentPath, source: int | None = None, origin: int = 0) -> TransactionRecord:
    return TransactionRecord(
        number=number,
        id=f"update-{number}",
        actions=("set_policy_data",),
        origin=origin or number,
        landed=paths,
        source=source,
    )


def _failed(
    number: int, path: DocumentPath, reason: str = "no answer", *, put_off: bool = False, origin: int = 0
) -> TransactionRecord:
    return TransactionRecord(
        number=number,
        id=f"update-{number}",
        success=False,
        error=reason,
        origin=origin or number,
        failed=(FailedPath(path, reason, put_off, replaces=True),),
    )


def _patch_put_off(number: int, path: DocumentPath, *, origin: int = 0) -> TransactionRecord:
    return TransactionRecord(
        number=number,
        id=f"update-{number}",
        success=False,
        origin=origin or number,
        failed=(FailedPath(path, "away", put_off=True),),
    )


def _policy(*, success: bool = True) -> TransactionRecord:
    return TransactionRecord(
        number=0, id="c0ffee", transaction_type="policy", success=success, error="" if success else "x"
    )


def _log(*sources: DocumentPath) -> TransactionLog:
    initial = {key: InitialSource(path, key + 1) for key, path in enumerate(sources)}
    return TransactionLog().with_engine(current=True).with_sources(initial)


def test_ready_needs_policies_and_every_initial_source() -> None:
    """
    One synced source of two is not enough, nor are policies alone.
    """
    log = _log(USERS, ROLES).after([_policy()])
    assert not log.ready
    log = log.after([_landed(1, USERS, source=0)])
    assert not log.ready
    assert log.after([_landed(2, ROLES, source=1)]).ready


def test_ready_is_false_before_the_sources_are_known() -> None:
    """
    An agent that has not been told its sources can't have synced them.
    """
    assert not TransactionLog().with_engine(current=True).after([_policy()]).ready


def test_newer_covering_put_counts_for_a_source() -> None:
    """
    A live PUT of an equal or ancestor path stands for the source; one below it, or an older one, does not.
    """
    log = _log(BOB).after([_policy()])

    assert log.after([_landed(7, USERS)]).ready
    assert not log.after([_landed(7, BOB / "roles")]).ready
    assert not log.after([_landed(8, BOB, origin=-1)]).ready


def test_failed_source_does_not_make_ready() -> None:
    """
    In the peer any successful data transaction did.
    """
    log = _log(USERS, ROLES).after([_policy(), _landed(1, USERS, source=0), _failed(2, ROLES)])

    assert not log.ready


@pytest.mark.parametrize(("data", "policies"), [(True, False), (False, True)])
def test_disabled_half_does_not_count(data: bool, policies: bool) -> None:  # noqa: FBT001
    """
    Without a data updater policies make ready, and the other way round.
    """
    log = TransactionLog(data=Half(enabled=data), policies=Half(enabled=policies)).with_engine(current=True)
    log = log.with_sources({}) if data else log.after([_policy()])

    assert log.ready
    assert log.healthy


def test_healthy_turns_false_and_true_again() -> None:
    """
    It follows the newest update that has ended: false when that failed, true when the next one is saved.
    """
    log = _log(USERS).after([_policy(), _landed(1, USERS, source=0)])
    assert log.healthy
    log = log.after([_failed(2, ROLES)])
    assert (True, False) == (log.ready, log.healthy)
    assert log.after([_landed(3, BOB)]).healthy


def test_healthy_looks_at_the_highest_number_not_at_the_last_end() -> None:
    """
    An older update that ends late says nothing about the newest one.
    """
    log = _log().after([_policy(), _failed(5, ROLES), _landed(3, USERS)])

    assert not log.healthy


def test_retry_of_an_older_update_says_nothing_about_the_newest() -> None:
    """
    Neither that it fails again beside a newer update that is in force, nor that it succeeds beside one that is not.
    """
    log = _log().after([_policy(), _failed(1, ROLES), _landed(2, USERS)])
    assert log.healthy
    assert log.after([_failed(3, ROLES, origin=1)]).healthy
    log = log.after([_failed(4, BOB)])
    assert not log.after([_landed(5, ROLES, origin=1)]).healthy


def test_retry_of_the_newest_update_mends_it_with_the_last_of_its_entries() -> None:
    """
    Of two entries that failed, one in force is not enough.
    """
    both = TransactionRecord(
        number=1, id="u", origin=1, success=False, failed=(FailedPath(ROLES, "404"), FailedPath(USERS, "404"))
    )
    log = _log().after([_policy(), both]).after([_landed(2, ROLES, origin=1)])
    assert not log.healthy
    assert not log.after([_failed(3, USERS, origin=1)]).healthy
    assert log.after([_landed(3, USERS, origin=1)]).healthy


def test_unhealthy_after_policies_that_failed() -> None:
    """
    The latest bundle must be in force, not any.
    """
    log = _log().after([_policy()])
    assert log.healthy
    log = log.after([_policy(success=False)])
    assert (True, False) == (log.ready, log.healthy)
    assert log.after([_policy()]).healthy


def test_not_ready_while_the_engine_is_filled() -> None:
    """
    What was synced once is of no use in an engine that lost it.
    """
    log = _log().after([_policy()])

    assert not log.with_engine(current=False).ready
    assert log.with_engine(current=False).with_engine(current=True).ready


def test_failed_path_is_out_of_sync_until_something_newer_covers_it() -> None:
    """
    An unrelated success does not bring it back, nor does an older one.
    """
    log = _log().after([_failed(2, BOB, "404")])
    assert {BOB: "404"} == {path: why.reason for path, why in log.out_of_sync.items()}
    assert not log.after([_landed(3, ROLES)]).in_sync
    assert not log.after([_landed(1, USERS)]).in_sync
    assert not log.after([_landed(4, BOB / "roles")]).in_sync
    assert log.after([_landed(3, USERS)]).in_sync


def test_order_within_a_batch_is_by_number() -> None:
    """
    A failure and a newer success in one commit leave the path in sync; the other way round they do not.
    """
    assert _log().after([_failed(2, BOB), _landed(3, BOB)]).in_sync
    assert not _log().after([_landed(2, BOB), _failed(3, BOB)]).in_sync


def test_restored_engine_makes_up_for_what_it_missed() -> None:
    """
    Updates that ended while it was away are in sync, and count for sources and health, once it holds them.
    """
    away = [_failed(1, USERS, "away", put_off=True), _failed(2, ROLES, "away", put_off=True)]
    log = _log(USERS).after([_policy(), *away])
    assert (False, False) == (log.ready, log.in_sync)
    log = log.with_restored({USERS: 1}, {ROLES: 2}, newest=2)
    assert (True, True, True) == (log.ready, log.in_sync, log.healthy)


def test_restored_engine_does_not_make_up_for_what_failed_beside_it() -> None:
    """
    A JSON patch that does not apply to the document which its own update has put off stays out of sync.
    """
    log = _log().after([_policy(), _failed(1, USERS, "does not apply")]).with_restored({USERS: 1}, {}, newest=1)
    assert [USERS] == list(log.out_of_sync)
    assert log.with_restored({USERS: 2}, {}, newest=2).in_sync


def test_retry_that_was_put_off_makes_up_for_what_failed_with_its_first_try() -> None:
    """
    Once the engine is back, and not for what failed after it.
    """
    log = _log().after([_policy(), _failed(1, BOB, "404")]).after([_failed(2, USERS, "away", put_off=True, origin=1)])
    assert {BOB, USERS} == set(log.out_of_sync)
    assert log.with_restored({USERS: 1}, {}, newest=2).in_sync
    again = log.after([_failed(3, BOB, "404", origin=1)]).with_restored({USERS: 1}, {}, newest=2)
    assert [BOB] == list(again.out_of_sync)


def test_patch_that_was_put_off_is_no_news_of_one_that_failed() -> None:
    """
    Whichever ended first, what failed stays out of sync until something newer replaces the document.
    """
    failed, put_off = _failed(2, USERS, "does not apply"), _patch_put_off(3, USERS)
    for records in ([failed, put_off], [put_off, failed]):
        log = _log().after([_policy(), *records]).with_restored({USERS: 1}, {USERS: 3}, newest=3)
        assert {USERS: "does not apply"} == {path: why.reason for path, why in log.out_of_sync.items()}
        assert log.after([_landed(4, USERS)]).in_sync


def test_patch_that_is_tried_again_while_the_engine_is_away_is_in_sync_when_it_is_back() -> None:
    """
    Its fetch had failed before; a patch that failed beside it, in the same update, is another matter.
    """
    log = _log().after([_policy(), _failed(2, USERS, "404")]).after([_patch_put_off(5, USERS, origin=2)])
    assert [USERS] == list(log.out_of_sync)
    assert log.with_restored({}, {USERS: 2}, newest=2).in_sync


def test_what_is_refused_after_an_outage_is_out_of_sync_for_that_reason() -> None:
    """
    The reason is the engine's, for everything that was put off in that region and nothing else.
    """
    away = [_failed(1, BOB, "away", put_off=True), _failed(2, ROLES, "away", put_off=True), _failed(3, USERS, "404")]
    log = _log().after([_policy(), *away]).with_refused(USERS, "no such type", number=1)
    assert {BOB: "no such type", ROLES: "away", USERS: "404"} == {
        path: why.reason for path, why in log.out_of_sync.items()
    }
    assert {ROLES: "no"} == {p: why.reason for p, why in _log().with_refused(ROLES, "no", number=4).out_of_sync.items()}


def test_refused_patch_counts_beside_an_older_one_that_failed() -> None:
    """
    Both are at one path, which is listed once; the newest update is not in force.
    """
    log = _log().after([_policy(), _failed(2, USERS, "does not apply"), _patch_put_off(3, USERS)])
    log = log.with_refused(USERS, "no such type", number=3).with_restored({}, {}, newest=3)
    assert (3, "no such type") == (log.out_of_sync[USERS].number, log.out_of_sync[USERS].reason)
    assert not log.healthy


def test_document_that_is_not_taken_back_makes_its_source_not_ready() -> None:
    """
    Whether it is at, above or below the source; anything else is out of sync and no more.
    """
    log = _log(BOB).after([_policy(), _landed(1, BOB, source=0)])
    assert (True, True) == (log.ready, log.in_sync)
    for path in (USERS, BOB, BOB / "roles"):
        not_restored = log.with_not_restored({path: "no"})
        assert (False, False, [path]) == (not_restored.ready, not_restored.in_sync, list(not_restored.out_of_sync))
        assert not_restored.with_not_restored({}).ready
    assert (True, False) == (log.with_not_restored({ROLES: "no"}).ready, log.with_not_restored({ROLES: "no"}).in_sync)
    assert [{"path": "/roles", "reason": "no"}] == log.with_not_restored({ROLES: "no"}).as_document()[
        "out_of_sync_paths"
    ]


def test_statistics_count_each_transaction_once() -> None:
    """
    By kind and by outcome.
    """
    log = _log().after([_policy(), _landed(1, USERS), _landed(2, BOB), _failed(3, ROLES), _policy(success=False)])

    assert (2, 1, 1, 1) == (log.data.successful, log.data.failed, log.policies.successful, log.policies.failed)


def test_document_has_what_the_peers_has() -> None:
    """
    The members of the peer's document, and the four that it lacks.
    """
    log = _log(USERS).after([_policy(), _landed(1, USERS, source=0), _failed(2, ROLES, "404")])
    document = log.with_source_connected(connected=True).with_heartbeat(12.5).as_document()

    assert {
        "ready": True,
        "healthy": False,
        "in_sync": False,
        "out_of_sync_paths": [{"path": "/roles", "reason": "404"}],
        "source_connected": True,
        "agent_alive": True,
        "heartbeat": 12.5,
        "transaction_data_statistics": {"successful": 1, "failed": 1},
        "transaction_policy_statistics": {"successful": 1, "failed": 0},
        "last_failed_policy_transaction": {},
    }.items() <= document.items()
    assert ("update-1", True, ["set_policy_data"], "") == tuple(
        document["last_data_transaction"][name] for name in ("id", "success", "actions", "error")
    )
    assert "update-2" == document["last_failed_data_transaction"]["id"]
    assert "c0ffee" == document["last_policy_transaction"]["id"]
    assert msgspec.json.encode(document)


def test_log_never_changes() -> None:
    """
    The committer shows listeners a log that may never come to pass.
    """
    log = _log(USERS)
    before = msgspec.to_builtins(log.as_document())
    log.after([_policy(), _landed(1, USERS, source=0), _failed(2, ROLES)])

    assert before == msgspec.to_builtins(log.as_document())
