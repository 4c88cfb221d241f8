"""The offline agent for plain `def` tests: it runs in a thread of its own, and every call waits for its answer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from cabochon.schemas import DataUpdate
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord
from cabochon_mock_store.engine import MockEngine
from cabochon_mock_store.offline_agent import PATIENCE_S, AsyncOfflineAgent, open_offline_agent
from cabochon_mock_store.outside_world import ReceivedReport

__all__ = ["OfflineAgent", "open_blocking_agent"]


class OfflineAgent:
    """A running agent for tests without `async`; see `AsyncOfflineAgent` for what each method means.

    Example:
        >>> with open_blocking_agent(base_data={"/users": {"bob": {"roles": ["admin"]}}}) as cabochon:
        ...     record = cabochon.publish("/users/bob/roles", [])
        ...     print(record.success, cabochon.document("/users"))
        True {'bob': {'roles': []}}
    """

    def __init__(self, agent: AsyncOfflineAgent, portal: BlockingPortal) -> None:
        self._agent = agent
        self._portal = portal

    # ------------------------------------------------------------------------------------------------- publishing

    def publish(self, path: str, data: Any, *, update_id: str | None = None) -> TransactionRecord:  # noqa: ANN401 - any JSON
        """Publish that the document at `path` is now `data`; return the record once the update has ended."""
        return self._portal.call(partial(self._agent.publish, path, data, update_id=update_id))

    def publish_patch(
        self, path: str, operations: Sequence[Mapping[str, Any]], *, update_id: str | None = None
    ) -> TransactionRecord:
        """Publish a JSON patch for the document at `path`; return the record once the update has ended."""
        return self._portal.call(partial(self._agent.publish_patch, path, operations, update_id=update_id))

    def publish_update(self, update: DataUpdate | Mapping[str, Any]) -> TransactionRecord:
        """Publish a whole update; return the record once it has ended."""
        return self._portal.call(self._agent.publish_update, update)

    def send(self, update: DataUpdate | Mapping[str, Any]) -> str:
        """Publish an update without waiting for it; return its id."""
        return self._portal.call(self._agent.send, update)

    def change_policies(self, policies: Mapping[str, str]) -> None:
        """Publish other policies, and wait until they are applied or refused."""
        self._portal.call(self._agent.change_policies, policies)

    def serve(self, url: str, document: Any, *, fail_times: int = 0) -> str:  # noqa: ANN401 - any JSON
        """Let `url` answer with `document` from now on, after `fail_times` failures; return it."""
        return self._call(partial(self._agent.serve, url, document, fail_times=fail_times))

    def refuse_reports(self, url: str = "memory:reports", *, times: int = 1) -> None:
        """Let a callback refuse the next reports."""
        self._call(partial(self._agent.refuse_reports, url, times=times))

    # ---------------------------------------------------------------------------------------------------- waiting

    def wait_for(self, update_id: str) -> TransactionRecord:
        """Wait until every update published with this id has ended; return the last one's record."""
        return self._portal.call(self._agent.wait_for, update_id)

    def synced(self) -> None:
        """Wait until all that was published has ended, was reported, and is in the engine."""
        self._portal.call(self._agent.synced)

    def report_on(self, update_id: str, *, follow_up: bool = False) -> ReceivedReport:
        """Wait for the report on an update, or for its follow-up, and return it."""
        return self._portal.call(partial(self._agent.report_on, update_id, follow_up=follow_up))

    def until(self, condition: Callable[[], bool], what: str = "", *, within_s: float = PATIENCE_S) -> None:
        """Wait until a condition holds; it is asked in the agent's thread, so it may not call this object."""
        self._portal.call(partial(self._agent.until, condition, what, within_s=within_s))

    # ----------------------------------------------------------------------------------------------------- looking

    def document(self, path: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Return what the engine holds at `path` as plain Python values, `default` if there is nothing."""
        return self._call(partial(self._agent.document, path, default))

    @property
    def policies(self) -> dict[str, str]:
        """The policies in the engine: source by path."""
        return self._call(lambda: self._agent.policies)

    @property
    def transactions(self) -> list[TransactionRecord]:
        """The record of every transaction that has ended, in order."""
        return self._call(lambda: list(self._agent.transactions))

    @property
    def reports(self) -> list[ReceivedReport]:
        """Every report delivered so far, to whichever callback."""
        return self._call(lambda: self._agent.reports)

    @property
    def fetches(self) -> list[str]:
        """The URL of each fetch so far."""
        return self._call(lambda: self._agent.fetches)

    @property
    def log(self) -> TransactionLog:
        """The transaction log: `ready`, `healthy`, `in_sync`, `out_of_sync`, counters and the last records."""
        return self._call(lambda: self._agent.log)

    @property
    def health(self) -> dict[str, Any]:
        """The health document, as `GET /v1/data/system/opal` would show it."""
        return self._call(lambda: self._agent.health)

    @property
    def engine(self) -> MockEngine:
        """The engine, to look into and to break; what is called on it is called in the agent's thread."""
        return cast("MockEngine", _InThread(self._agent.engine, self._portal))

    def _call(self, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the function returns
        return self._portal.call(function)


class _InThread:
    """Stands for an object that belongs to another thread."""

    def __init__(self, target: object, portal: BlockingPortal) -> None:
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_portal", portal)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the attribute's
        value = self._portal.call(getattr, self._target, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the target's
            return self._portal.call(partial(value, *args, **kwargs))

        return call

    def __setattr__(self, name: str, value: object) -> None:
        self._portal.call(setattr, self._target, name, value)


@contextmanager
def open_blocking_agent(
    *,
    base_data: Mapping[str, Any] | None = None,
    policies: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    plugins: Sequence[tuple[str, object]] = (),
    engine: MockEngine | None = None,
) -> Generator[OfflineAgent]:
    """Run an agent in a thread, and yield it once it is ready; the arguments are those of `open_offline_agent`."""
    opened = open_offline_agent(
        base_data=base_data, policies=policies, settings=settings, plugins=plugins, engine=engine
    )
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(opened) as agent:
        yield OfflineAgent(agent, portal)
