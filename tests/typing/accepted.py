# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What plugin authors write, as it is right: each line checks, under pyright's strictest rules."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, assert_type

from pydantic import Field, SecretStr

from cabochon import (
    AgentContext,
    AsgiApp,
    Callback,
    CallbackReporter,
    CallbackReporterType,
    Change,
    Changes,
    CommitResult,
    Connected,
    DocumentPath,
    Fetcher,
    FetcherType,
    HttpRoutesType,
    PolicyStore,
    PolicyStoreType,
    ReportTrace,
    ServiceType,
    SetData,
    Settings,
    SourceEvent,
    StoreTraits,
    SupportsReadBack,
    Tracer,
    TransactionListener,
    TransactionListenerType,
    TransactionLog,
    TransactionRecord,
    UpdateSource,
    UpdateSourceType,
    hookimpl,
    load_settings,
)
from cabochon.schemas import DataSourceConfig, PolicyBundle


class StoreSettings(Settings):
    """Settings are pydantic models, each field under its whole name."""

    url: str = Field("http://localhost:9000", alias="OPAL_THINGS_URL")
    token: SecretStr | None = Field(None, alias="OPAL_THINGS_TOKEN")


assert_type(load_settings(StoreSettings), StoreSettings)


class Store(PolicyStore):
    """A store with one power more than it must have."""

    traits = StoreTraits(policy_unit="files", data_unit="documents", atomic="commit", max_changes=100)

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.documents: dict[DocumentPath, bytes] = {}

    async def commit(self, changes: Changes) -> CommitResult:
        for change in changes.flat():
            assert_type(change, Change)
            if isinstance(change, SetData):
                self.documents[change.path] = change.value
        return CommitResult.applied(changes)

    async def health(self) -> None:
        pass

    async def get_data(self, path: DocumentPath) -> bytes | None:
        return self.documents.get(path)

    async def get_policies(self) -> Mapping[str, str]:
        return {}


@asynccontextmanager
async def open_store(settings: StoreSettings) -> AsyncGenerator[Store]:
    yield Store(settings)


def reads_back(store: Store) -> SupportsReadBack:
    return store


@hookimpl
def cabochon_policy_stores() -> Iterator[PolicyStoreType]:
    yield PolicyStoreType(name="things", summary="Things", open=open_store, settings=StoreSettings)


class FileFetcher(Fetcher):
    """What it needs not, such as `avoid`, it leaves out."""

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        return url.encode()


@asynccontextmanager
async def open_fetcher(settings: None) -> AsyncGenerator[FileFetcher]:
    del settings
    yield FileFetcher()


@hookimpl
def cabochon_fetchers() -> list[FetcherType]:
    return [FetcherType(name="file", summary="Files", open=open_fetcher, schemes=("file",))]


class Source(UpdateSource):
    """Its events may be a generator."""

    async def events(self) -> AsyncIterator[SourceEvent]:
        yield Connected()

    async def data_sources(self) -> DataSourceConfig:
        return DataSourceConfig()

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        return None


@asynccontextmanager
async def open_source(settings: object) -> AsyncGenerator[UpdateSource]:
    del settings
    yield Source()


@hookimpl
def cabochon_update_sources() -> tuple[UpdateSourceType, ...]:
    return (UpdateSourceType(name="never", summary="Nothing", open=open_source),)


class Listener(TransactionListener):
    """Writes what it owns into each commit, and counts."""

    owned_paths = (DocumentPath.parse("/things"),)

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        assert_type(log.ready, bool)
        return [SetData(self.owned_paths[0], b"%d" % len(records))]

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        assert_type(record.success, bool)


@asynccontextmanager
async def open_listener(settings: object) -> AsyncGenerator[TransactionListener]:
    del settings
    yield Listener()


@hookimpl
def cabochon_transaction_listeners() -> Iterator[TransactionListenerType]:
    yield TransactionListenerType(name="counts", summary="Counts", open=open_listener, stores=("things",))


class Reporter(CallbackReporter):
    """Delivers nowhere."""

    async def report(self, report: bytes, callback: Callback) -> None:
        assert_type(callback.url, str)


@asynccontextmanager
async def open_reporter(settings: object) -> AsyncGenerator[Reporter]:
    del settings
    yield Reporter()


@hookimpl
def cabochon_callback_reporters() -> Iterator[CallbackReporterType]:
    yield CallbackReporterType(name="nowhere", summary="Nowhere", open=open_reporter)


class Timer(Tracer):
    """Hears of reports alone."""

    def report_ended(self, trace: ReportTrace) -> None:
        assert_type(trace.period.ended - trace.period.began, float)


@asynccontextmanager
async def open_service(settings: object, agent: AgentContext) -> AsyncGenerator[None]:
    del settings
    assert_type(agent.log(), TransactionLog)
    assert_type(agent.refresh_data, Callable[[], Awaitable[None]])
    with agent.traces.sent_to(Timer()):
        yield


@hookimpl
def cabochon_services() -> Iterator[ServiceType]:
    yield ServiceType(name="timer", summary="Times reports", open=open_service, phase="after_store")


def routes(settings: object, agent: AgentContext) -> AsgiApp:
    raise NotImplementedError


@hookimpl
def cabochon_http_routes() -> Iterator[HttpRoutesType]:
    yield HttpRoutesType(name="things", summary="Things", mount_path="/things", app=routes, public=True)
