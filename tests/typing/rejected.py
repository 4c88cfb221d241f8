# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What plugin authors get wrong: each marked line is an error, of just that rule, and nothing else is one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import cabochon
from cabochon import (
    AgentContext,
    Callback,
    CallbackReporter,
    CallbackReporterType,
    Change,
    Changes,
    CommitResult,
    Fetcher,
    FetcherType,
    HttpRoutesType,
    PolicyStore,
    PolicyStoreType,
    ServiceType,
    SetData,
    Settings,
    StoreTraits,
    SupportsReadBack,
    TransactionListener,
    TransactionLog,
    TransactionRecord,
    UpdateSource,
    UpdateSourceType,
    hookimpl,
    load_settings,
)

MISTYPED = cabochon.PolicyStor  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]


class WithoutHealth(PolicyStore):
    traits = StoreTraits(policy_unit="none", data_unit="documents", atomic="commit")

    async def commit(self, changes: Changes) -> CommitResult:
        return CommitResult.applied(changes)


class WrongAnswer(PolicyStore):
    traits = StoreTraits(policy_unit="none", data_unit="documents", atomic="commit")

    async def commit(self, changes: Changes) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        return True

    async def health(self) -> None:
        pass


class NotAsynchronous(PolicyStore):
    traits = StoreTraits(policy_unit="none", data_unit="documents", atomic="commit")

    def commit(self, changes: Changes) -> CommitResult:  # pyright: ignore[reportIncompatibleMethodOverride]
        return CommitResult.applied(changes)

    async def health(self) -> None:
        pass


class WrongTraits(PolicyStore):
    traits = ("none", "documents", "commit")  # pyright: ignore[reportAssignmentType]

    async def commit(self, changes: Changes) -> CommitResult:
        return CommitResult.applied(changes)

    async def health(self) -> None:
        pass


WithoutHealth()  # pyright: ignore[reportAbstractUsage]
StoreTraits(policy_unit="some", data_unit="documents", atomic="commit")  # pyright: ignore[reportArgumentType]
StoreTraits(policy_unit="files", data_unit="documents")  # pyright: ignore[reportCallIssue]
StoreTraits("files", "documents", "commit")  # pyright: ignore[reportCallIssue]
SetData("/a/path/as/text", b"1")  # pyright: ignore[reportArgumentType]


def has_the_power(store: WrongAnswer) -> SupportsReadBack:
    return store  # pyright: ignore[reportReturnType]


class ReturnsText(Fetcher):
    async def fetch(self, url: str, config: Mapping[str, Any]) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return url


class LacksTheConfig(Fetcher):
    async def fetch(self, url: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return url.encode()


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncGenerator[PolicyStore]:
    del settings
    yield NotAsynchronous()


async def without_a_context(settings: Settings) -> PolicyStore:
    del settings
    return NotAsynchronous()


@hookimpl
def cabochon_policy_stores() -> Iterator[PolicyStoreType]:
    yield PolicyStoreType(name="a", summary="", open=without_a_context)  # pyright: ignore[reportArgumentType]
    yield PolicyStoreType(name="b", summary="", open=open_store, settings=dict)  # pyright: ignore[reportArgumentType]
    yield PolicyStoreType(name="c", open=open_store)  # pyright: ignore[reportCallIssue]
    yield PolicyStoreType(name="d", summary="", open=open_store, usually=True)  # pyright: ignore[reportCallIssue]


@hookimpl
def cabochon_fetchers() -> Iterator[FetcherType]:
    yield FetcherType(name="a", summary="", open=open_store)  # pyright: ignore[reportArgumentType]
    yield PolicyStoreType(name="b", summary="", open=open_store)  # pyright: ignore[reportReturnType]


class WithoutPolicies(UpdateSource):
    pass


@asynccontextmanager
async def open_source(settings: object) -> AsyncGenerator[UpdateSource]:
    del settings
    yield WithoutPolicies()  # pyright: ignore[reportAbstractUsage]


UpdateSourceType(name="a", summary="", open=open_store)  # pyright: ignore[reportArgumentType]


class AsynchronousPart(TransactionListener):
    owned_paths = ("/things",)  # pyright: ignore[reportAssignmentType]

    async def committing(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, records: Sequence[TransactionRecord], log: TransactionLog
    ) -> Sequence[Change]:
        return []

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        log.ready = True  # pyright: ignore[reportAttributeAccessIssue]
        record.success = True  # pyright: ignore[reportAttributeAccessIssue]


class TakesAnObject(CallbackReporter):
    async def report(self, report: dict[str, str], callback: Callback) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


CallbackReporterType(name="a", summary="", open=open_store)  # pyright: ignore[reportArgumentType]


@asynccontextmanager
async def without_the_agent(settings: object) -> AsyncGenerator[None]:
    del settings
    yield


@asynccontextmanager
async def looks_too_deep(settings: object, agent: AgentContext) -> AsyncGenerator[None]:
    del settings
    agent.pipeline.stop()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    agent.traces.sent_to(print)  # pyright: ignore[reportArgumentType]
    yield


ServiceType(name="a", summary="", open=without_the_agent)  # pyright: ignore[reportArgumentType]
ServiceType(name="b", summary="", open=looks_too_deep, phase="later")  # pyright: ignore[reportArgumentType]
HttpRoutesType(name="a", summary="", mount_path="/a", app=looks_too_deep)  # pyright: ignore[reportArgumentType]

load_settings(PolicyStore)  # pyright: ignore[reportArgumentType]
