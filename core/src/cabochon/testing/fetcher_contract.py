"""What every fetcher must do, as tests that its author runs by subclassing."""

from __future__ import annotations

import copy
import json
import traceback
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from cabochon.contract.fetcher import Fetcher, FetcherType
from cabochon.documents import json_values
from cabochon.errors import FetchError, FetchTimeoutError
from cabochon.testing._contract import Contract
from cabochon.testing._fetch_source import FetchEntry, FetchSource
from cabochon.testing._watch import Watch

__all__ = ["FetchEntry", "FetchSource", "FetcherContract"]

PROMPT_S = 5.0
"""What should happen at once must happen within so many seconds, on a busy machine too."""


class FetcherContract(Contract):
    """What every fetcher must do; subclass it and provide `fetcher_type` and `source`.

    Example:
        A fetcher for files, tested:

            class FileSource(FetchSource): ...

            class TestFileFetcher(FetcherContract):
                @pytest.fixture
                def fetcher_type(self) -> FetcherType:
                    (offered,) = plugin.cabochon_fetchers()
                    return offered

                @pytest.fixture
                def source(self, tmp_path: Path) -> FetchSource:
                    return FileSource(tmp_path)
    """

    @pytest.fixture
    def fetcher_type(self) -> FetcherType:
        """The registration that the plugin offers."""
        raise NotImplementedError("return the FetcherType under test")

    @pytest.fixture
    def source(self) -> FetchSource:
        """Where it fetches from."""
        raise NotImplementedError("return or yield a FetchSource")

    @pytest.fixture
    def settings(self, fetcher_type: FetcherType) -> object:
        """What `open` is given; the settings' defaults unless overridden."""
        return fetcher_type.settings() if fetcher_type.settings is not None else None

    @pytest.fixture
    async def fetcher(self, fetcher_type: FetcherType, settings: object) -> AsyncGenerator[Fetcher]:
        """The fetcher, open."""
        async with fetcher_type.open(settings) as fetcher:
            yield fetcher

    # ---------------------------------------------------------------------------------------------------- documents

    async def test_fetch_returns_the_document(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        A fetch returns the document that the source holds, as raw JSON in UTF-8.
        """
        document = json_values.decode(
            b'{"alice": {"roles": ["admin"], "age": 41}, "none": null, "empty": [{}, [], ""], "yes": true}'
        )

        assert document == await _fetched(fetcher, await source.holding(document))

    async def test_fetch_keeps_every_character(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        Text comes through whole in keys and values: every script, quotes, slashes, control characters.
        """
        document = {"J\u00f6rg \u65e5\u672c \U0001f980": 'a"b\\c/d~e', "~0/~1": "\u0000\u001f\u2028\ufeff"}

        assert document == await _fetched(fetcher, await source.holding(document))

    async def test_fetch_keeps_every_digit(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        Numbers keep every digit: none passes through a float.
        """
        document = json_values.decode(b'{"id": 9007199254740993, "large": 123456789012345678901234567890, "x": 0.1}')

        assert document == await _fetched(fetcher, await source.holding(document))

    async def test_fetch_returns_a_large_document_whole(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        A document of some megabytes arrives whole.
        """
        document = [{"number": number, "text": "x" * 1000} for number in range(3000)]

        assert document == await _fetched(fetcher, await source.holding(document))

    async def test_fetch_returns_what_the_source_holds_now(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        A fetch asks the source each time: what changed there is seen by the next fetch.
        """
        before = await _fetched(fetcher, await source.holding({"version": 1}))
        after = await _fetched(fetcher, await source.holding({"version": 2}))

        assert ({"version": 1}, {"version": 2}) == (before, after)

    async def test_fetch_leaves_the_config_alone(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        A fetch does not change the entry's configuration, which others hold too.
        """
        for entry in (await source.holding({"a": 1}), await source.failing()):
            config: dict[str, Any] = copy.deepcopy(dict(entry.config))
            with suppress(FetchError):
                await fetcher.fetch(entry.url, config)
            assert dict(entry.config) == config

    # ------------------------------------------------------------------------------------------------------- errors

    async def test_refusal_is_final(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        What the source refuses raises FetchError with `again` false, so that nobody asks in vain.
        """
        error = await _error(fetcher, await source.refusing())

        assert not error.again

    async def test_failure_may_pass(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        A source that is down or overloaded raises FetchError with `again` true, so that the core tries again.
        """
        error = await _error(fetcher, await source.failing())

        assert error.again

    async def test_silence_ends_in_a_timeout(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        A source that never answers raises FetchTimeoutError in its own time, with `again` true.
        """
        error = await _error(fetcher, await source.timing_out())

        assert isinstance(error, FetchTimeoutError)
        assert error.again

    async def test_wrong_config_is_named(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        A wrong configuration raises FetchError with `again` false, and the message names the member.
        """
        entry = await source.misconfigured()
        error = await _error(fetcher, entry)

        assert not error.again
        assert entry.blames in str(error)

    async def test_errors_name_the_url(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        Every error names where it fetched from, in `url` and in the message.
        """
        for entry in await _troubled(source):
            error = await _error(fetcher, entry)
            assert error.url
            assert error.url in str(error)

    async def test_secrets_stay_secret(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        No secret of an entry is in an error's message, its attributes, its causes, or a log.
        """
        for entry in [await source.holding({"a": 1}), *await _troubled(source)]:
            with Watch() as watch:
                shown = ""
                try:
                    await fetcher.fetch(entry.url, entry.config)
                except FetchError as err:
                    shown = "".join(traceback.format_exception(err)) + repr(err) + repr(vars(err))
            assert [] == [secret for secret in entry.secrets if secret in shown + watch.logged]

    # --------------------------------------------------------------------------------- side by side, cancelled, closed

    async def test_fetches_run_side_by_side(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        Many fetches at the same time each return their own document.
        """
        entries = [await source.holding({"number": number}, name=f"{number}") for number in range(20)]
        fetched: dict[int, Any] = {}

        async def fetch(number: int) -> None:
            fetched[number] = await _fetched(fetcher, entries[number])

        with anyio.fail_after(PROMPT_S):
            async with anyio.create_task_group() as tasks:
                for number in range(len(entries)):
                    tasks.start_soon(fetch, number)

        assert {number: {"number": number} for number in range(20)} == fetched

    async def test_a_hanging_source_delays_no_other(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        While some sources never answer, others are fetched at once.
        """
        hanging, held = await source.hanging(), await source.holding({"a": 1})
        fetched: Any = None
        with anyio.fail_after(PROMPT_S):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(fetcher.fetch, hanging.url, hanging.config)
                await anyio.wait_all_tasks_blocked()
                fetched = await _fetched(fetcher, held)
                tasks.cancel_scope.cancel()

        assert {"a": 1} == fetched

    async def test_cancelled_fetch_ends_at_once(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        A fetch that is cancelled ends at once.
        """
        entry = await source.hanging()
        with Watch() as watch:
            with anyio.move_on_after(0.05):
                await fetcher.fetch(entry.url, entry.config)

        assert watch.duration_s < PROMPT_S / 2

    async def test_cancelled_fetches_leave_nothing_behind(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        However many fetches were cancelled, no task is left of them and the next fetch works.
        """
        hanging, held = await source.hanging(), await source.holding({"a": 1})
        with Watch() as watch:
            for _ in range(10):
                with anyio.move_on_after(0.03):
                    async with anyio.create_task_group() as tasks:
                        for _ in range(15):
                            tasks.start_soon(fetcher.fetch, hanging.url, hanging.config)
            await watch.tasks_end(within_s=1.0)

        assert set() == watch.tasks_left
        with anyio.fail_after(PROMPT_S):
            assert {"a": 1} == await _fetched(fetcher, held)

    async def test_fetcher_survives_errors(self, fetcher: Fetcher, source: FetchSource) -> None:
        """
        After every kind of failure the next fetch works.
        """
        for entry in await _troubled(source):
            await _error(fetcher, entry)
            assert {"a": 1} == await _fetched(fetcher, await source.holding({"a": 1}))

    async def test_closing_leaves_nothing_behind(
        self, fetcher_type: FetcherType, settings: object, source: FetchSource
    ) -> None:
        """
        A fetcher that is closed leaves no task, and can be opened again; two of them do not share their end.
        """
        held = await source.holding({"a": 1})
        with Watch() as watch:
            async with fetcher_type.open(settings) as lasting:
                for _ in range(2):
                    async with fetcher_type.open(settings) as passing:
                        await _fetched(passing, held)
                assert {"a": 1} == await _fetched(lasting, held)
            await watch.tasks_end(within_s=1.0)

        assert set() == watch.tasks_left

    # ------------------------------------------------------------------------------------------------- registration

    def test_registration_is_complete(self, fetcher_type: FetcherType) -> None:
        """
        The registration has a name of one word, a summary of one line, and schemes in lower case without `:`.
        """
        assert fetcher_type.name.strip()
        assert not any(char.isspace() for name in (fetcher_type.name, *fetcher_type.aliases) for char in name)
        assert fetcher_type.summary.strip()
        assert "\n" not in fetcher_type.summary
        for scheme in fetcher_type.schemes:
            assert scheme == scheme.lower().rstrip(":/")


async def _fetched(fetcher: Fetcher, entry: FetchEntry) -> Any:  # noqa: ANN401 # any JSON
    raw = await fetcher.fetch(entry.url, entry.config)
    assert isinstance(raw, bytes), f"a fetch returns bytes, not {type(raw).__name__}"
    return json_values.decode(json_values.check(raw))


async def _error(fetcher: Fetcher, entry: FetchEntry) -> FetchError:
    with anyio.fail_after(PROMPT_S):
        try:
            raw = await fetcher.fetch(entry.url, entry.config)
        except FetchError as err:
            return err
    pytest.fail(f"the fetch raised no FetchError, it returned {json.dumps(raw.decode('utf-8', 'replace')[:80])}")


async def _troubled(source: FetchSource) -> list[FetchEntry]:
    return [
        await source.refusing(),
        await source.failing(),
        await source.timing_out(),
        await source.misconfigured(),
    ]
