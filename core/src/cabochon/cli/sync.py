"""`cabochon sync`: load base data once, and show how each entry went."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import anyio
import click

from cabochon.agent.opening import open_agent
from cabochon.cli.agent import load_agent_plugins
from cabochon.contract.tracing import EntryTrace, Tracer, UpdateTrace
from cabochon.documents.path import DocumentPath
from cabochon.errors import ConfigurationError, DocumentPathError, FetchError
from cabochon.kit.base_data_source import BaseDataSource, parse_data_sources
from cabochon.plugins.installed import Plugins
from cabochon.schemas import DataSourceConfig
from cabochon.settings.core import CoreSettings, load_settings
from cabochon.urls import masked_url

__all__ = ["EntryOutcome", "sync"]

_VARIABLE = "OPAL_DATA_CONFIG_SOURCES"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryOutcome:
    """How one entry went; `seconds` from its arrival to its end, `bytes` of raw JSON."""

    url: str
    dst_path: str
    fetched: bool
    saved: bool
    bytes: int
    seconds: float
    error: str


@click.command
@click.option(
    "--sources",
    metavar="FILE|URL|JSON",
    help=f"The base data sources: a file, a URL, or JSON as in {_VARIABLE}, which is the default.",
)
@click.option("--store", metavar="NAME", help="The policy store to load into; default: OPAL_POLICY_STORE_TYPE.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.pass_context
def sync(ctx: click.Context, *, sources: str | None, store: str | None, as_json: bool) -> None:
    """Load base data into a policy store once, and show how each entry went.

    Every entry is fetched and written as the agent would do it. Exits with 1 if an entry was not fetched or not saved,
    so that a build can check its data sources: with --store MOCK they are loaded into memory only.

    \b
    Examples:
      cabochon sync --store MOCK --sources sources.json
      cabochon sync --store MOCK --sources '{"config": {"entries": [
          {"url": "https://data.example/users.json", "dst_path": "/users"}]}}'
    """  # noqa: D301 - click's mark for text that is not to be wrapped
    settings = load_settings(CoreSettings)
    changed = {"should_report_on_data_updates": False, "policy_updater_enabled": False}
    settings = settings.model_copy(update={**changed, "policy_store_type": store or settings.policy_store_type})
    plugins = load_agent_plugins(settings)
    wanted = anyio.run(_read_sources, plugins, sources or os.environ.get(_VARIABLE, ""))
    outcomes = anyio.run(_sync, plugins, settings, wanted)
    if as_json:
        click.echo(json.dumps({"ok": _ok(outcomes, wanted), "entries": [asdict(one) for one in outcomes]}, indent=2))
    else:
        _print_table(outcomes)
    if not _ok(outcomes, wanted):
        ctx.exit(1)


def _ok(outcomes: list[EntryOutcome], wanted: DataSourceConfig) -> bool:
    return len(outcomes) == len(wanted.entries) and all(one.saved for one in outcomes)


async def _read_sources(plugins: Plugins, given: str) -> DataSourceConfig:
    if not given:
        msg = f"no data sources: give --sources FILE, URL or JSON, or set {_VARIABLE}"
        raise ConfigurationError(msg)
    if given.lstrip().startswith(("{", "[")):
        return parse_data_sources(given, where="--sources")
    if "://" in given:
        fetcher_type = plugins.fetcher_for(None, given)
        async with fetcher_type.registration.open(fetcher_type.load_settings()) as fetcher:
            try:
                return parse_data_sources(await fetcher.fetch(given, {}), where=masked_url(given))
            except FetchError as err:
                msg = f"--sources: {err}"
                raise ConfigurationError(msg) from err
    try:
        return parse_data_sources(await anyio.Path(given).read_bytes(), where=given)
    except OSError as err:
        msg = f"--sources={given} can't be read: {err.strerror}; it should be a file, a URL, or JSON"
        raise ConfigurationError(msg) from err


async def _sync(plugins: Plugins, settings: CoreSettings, wanted: DataSourceConfig) -> list[EntryOutcome]:
    with _ProgressBar(len(wanted.entries)) as advance:
        outcomes = _Outcomes(advance)
        async with open_agent(plugins, settings, source=BaseDataSource(wanted), alone=True) as agent:
            with agent.context.traces.sent_to(outcomes):
                await agent.run_until_source_ends()
    return [outcomes.by_source[key] for key in sorted(outcomes.by_source)]


class _Outcomes(Tracer):
    """Keeps how the first try of each base data source went."""

    def __init__(self, advance: Callable[[EntryOutcome], None]) -> None:
        self.by_source: dict[int, EntryOutcome] = {}
        self._advance = advance

    def update_ended(self, trace: UpdateTrace) -> None:
        if trace.source is not None and trace.source not in self.by_source:
            self.by_source[trace.source] = outcome = _outcome(trace, trace.entries[0])
            self._advance(outcome)


def _outcome(trace: UpdateTrace, entry: EntryTrace) -> EntryOutcome:
    return EntryOutcome(
        url=entry.url,
        dst_path=_plain(entry.dst_path),
        fetched=entry.fetched,
        saved=entry.saved,
        bytes=entry.size_bytes or 0,
        seconds=round(trace.period.ended - trace.period.began, 3),
        error=trace.error,
    )


def _plain(dst_path: str) -> str:
    """Spell a path as the engine has it; what is no path stays as it is."""
    try:
        return str(DocumentPath.parse(dst_path))
    except DocumentPathError:
        return dst_path


class _ProgressBar:
    """A progress bar on standard error, if a person is looking."""

    def __init__(self, total: int) -> None:
        self._total = total

    def __enter__(self) -> Callable[[EntryOutcome], None]:
        from rich.console import Console  # noqa: PLC0415 - only people who look wait for it
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._bar = Progress(
            TextColumn("loading base data"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[last]}"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._bar.start()
        task = self._bar.add_task("", total=self._total, last="")
        return lambda outcome: self._bar.update(task, advance=1, last=outcome.dst_path)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _print_table(outcomes: list[EntryOutcome]) -> None:
    from rich.table import Table  # noqa: PLC0415 - only people who look wait for it
    from rich.text import Text  # noqa: PLC0415

    from cabochon.cli.tables import print_table  # noqa: PLC0415

    table = Table("dst_path", "fetched", "saved", "bytes", "seconds", "url", box=None, pad_edge=False)
    for one in outcomes:
        words = ["yes" if good else "no" for good in (one.fetched, one.saved)]
        cells = [one.dst_path, *words, f"{one.bytes:,}", f"{one.seconds:.3f}", one.url]
        table.add_row(*map(Text, cells), style="green" if one.saved else "red")
    print_table(table)
    for one in outcomes:
        if one.error:
            click.secho(f"{one.dst_path}: {one.error}", fg="red")
    saved = sum(one.saved for one in outcomes)
    click.echo(f"{saved} of {len(outcomes)} entries saved, {sum(one.bytes for one in outcomes):,} bytes")
