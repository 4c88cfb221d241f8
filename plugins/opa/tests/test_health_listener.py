"""What the healthcheck writes into a commit, and what it says in the log."""

from collections.abc import AsyncGenerator

import msgspec
import pytest
from structlog.testing import capture_logs

from cabochon import TransactionListener, TransactionListenerType
from cabochon.documents.path import DocumentPath
from cabochon.testing.transaction_listener_contract import RECORDS, START, TransactionListenerContract
from cabochon.transactions.changes import SetData, SetPolicy
from cabochon.transactions.log import Half, TransactionLog
from cabochon.transactions.records import TransactionRecord
from cabochon_opa.health.listener import HEALTH_PATH, OPAL_POLICY, PROBES_POLICY, health_listener_type
from cabochon_opa.health.settings import HealthSettings

READY = TransactionLog(data=Half(enabled=False), policies=Half(enabled=False), engine_current=True, heartbeat_at=5.5)
NOT_READY = TransactionLog(heartbeat_at=5.5)


class TestOpaHealthListener(TransactionListenerContract):
    @pytest.fixture
    def listener_type(self) -> TransactionListenerType:
        return health_listener_type()

    @pytest.fixture
    def settings(self) -> HealthSettings:
        return HealthSettings(enabled=True)


class TestListenerWithATemplateThatPrintsTheState(TransactionListenerContract):
    @pytest.fixture
    def listener_type(self) -> TransactionListenerType:
        return health_listener_type()

    @pytest.fixture
    def settings(self, tmp_path_factory: pytest.TempPathFactory) -> HealthSettings:
        path = tmp_path_factory.mktemp("template") / "mine.rego.j2"
        path.write_text(
            "package system.opal\ndefault ready = {{ ready }}\nlast := {{ last_failed_data_transaction }}\n"
        )
        return HealthSettings(enabled=True, template_path=str(path))


class TestDisabledListener(TransactionListenerContract):
    @pytest.fixture
    def listener_type(self) -> TransactionListenerType:
        return health_listener_type()


@pytest.fixture
async def listener() -> AsyncGenerator[TransactionListener]:
    async with health_listener_type().open(HealthSettings(enabled=True)) as listener:
        yield listener


async def test_it_is_off_unless_enabled() -> None:
    """
    As in OPAL the healthcheck policy is off by default; then nothing is written and nothing is owned.
    """
    offered = health_listener_type()
    assert (offered.name, offered.stores) == ("opa-health", ("OPA",))
    async with offered.open(HealthSettings()) as listener:
        assert listener.owned_paths == listener.owned_policies == ()
        assert listener.committing(RECORDS, START) == ()


@pytest.mark.parametrize("log", [READY, NOT_READY])
async def test_a_commit_carries_the_modules_and_the_state(listener: TransactionListener, log: TransactionLog) -> None:
    """
    The modules come first and never change; the state is the log's document, where the modules read it.
    """
    opal, probes, state = listener.committing((), log)
    later = listener.committing(RECORDS, START.after(RECORDS))

    assert isinstance(opal, SetPolicy)
    assert isinstance(probes, SetPolicy)
    assert [opal.id, probes.id] == [OPAL_POLICY, PROBES_POLICY] == [
        "engine/healthcheck/opal.rego",
        "engine/healthcheck/health.rego",
    ]  # fmt: skip
    assert [opal, probes] == list(later[:2])
    assert isinstance(state, SetData)
    assert state.path == HEALTH_PATH == DocumentPath.parse("/system/cabochon/health")
    assert msgspec.json.decode(state.value) == log.as_document()


async def test_the_probes_can_be_left_to_the_operator() -> None:
    """
    Where the operator's policies have `package system.health`, ours is neither written nor owned.
    """
    async with health_listener_type().open(HealthSettings(enabled=True, probes_enabled=False)) as listener:
        written = [change.id for change in listener.committing((), READY) if isinstance(change, SetPolicy)]
        assert written == [OPAL_POLICY]
        assert list(listener.owned_policies) == [OPAL_POLICY]


async def test_a_module_that_prints_the_state_is_written_before_the_data_unless_it_says_ready(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """
    OPA takes such a module in a request of its own: what says not ready goes first, what says ready goes last.
    """
    path = tmp_path_factory.mktemp("template") / "mine.rego.j2"
    path.write_text("package system.opal\ndefault ready = {{ ready }}\n")
    async with health_listener_type().open(HealthSettings(enabled=True, template_path=str(path))) as listener:
        before, after = listener.committing((), NOT_READY), listener.committing((), READY)

    assert [type(change) for change in before] == [SetPolicy, SetPolicy, SetData]
    assert before[0] == SetPolicy(OPAL_POLICY, "package system.opal\ndefault ready = false\n")
    assert [type(change) for change in after] == [SetPolicy, SetData, SetPolicy]
    assert after[2] == SetPolicy(OPAL_POLICY, "package system.opal\ndefault ready = true\n")


async def test_the_log_says_what_opal_s_users_look_for(listener: TransactionListener) -> None:
    """
    OPAL's page tells its users which lines to look for: they are there, at `info` when ready or healthy changes.

    At `debug` the same is in the keys, and no text is built that nobody may read.
    """
    record = TransactionRecord(number=1, id="c83b", actions=("set_policy_data",))
    with capture_logs() as lines:
        await listener.ended(record, NOT_READY)
        await listener.ended(record, NOT_READY)
        await listener.ended(record, READY)

    told = "processing store transaction: {'id': 'c83b', 'actions': ['set_policy_data'], 'success': True, 'error': ''}"
    no = "persisting health check policy: ready=false, healthy=false"
    yes = "persisting health check policy: ready=true, healthy=true"
    assert [(line["log_level"], line.get("message")) for line in lines] == [
        ("info", told),
        ("info", no),
        ("debug", None),
        ("debug", None),
        ("info", told),
        ("info", yes),
    ]
    assert [(line["transaction_id"], line["actions"], line["success"], line["error"]) for line in lines[::2]] == [
        ("c83b", ("set_policy_data",), True, "")
    ] * 3
    assert [(line["ready"], line["healthy"]) for line in lines[1::2]] == [(False, False), (False, False), (True, True)]
    assert {line["event"] for line in lines} == {"health_check.transaction", "health_check.persisted"}
