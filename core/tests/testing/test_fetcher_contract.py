"""The fetcher kit: a good fetcher passes, and each promise catches the fetcher that breaks it."""

import asyncio
import inspect
import json
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

import anyio
import pytest
import structlog

from cabochon.contract.fetcher import Fetcher, FetcherType
from cabochon.documents import json_values
from cabochon.errors import FetchError, FetchStatusError, FetchTimeoutError
from cabochon.testing.fetcher_contract import FetchEntry, FetcherContract, FetchSource

SECRETS = ("hunter2", "t0ken")
SHELF: dict[str, bytes] = {}
"""What the source of these tests holds."""


class ShelfSource(FetchSource):
    """Documents in memory, behind URLs such as `shelf://bob:hunter2@here/document`."""

    def entry(self, name: str, **config: Any) -> FetchEntry:
        return FetchEntry(url=f"shelf://bob:hunter2@here/{name}", config={"token": "t0ken", **config}, secrets=SECRETS)

    async def holding(self, document: Any, *, name: str = "document") -> FetchEntry:  # noqa: ANN401 # any JSON
        SHELF[name] = json_values.encode(document)
        return self.entry(name)

    async def refusing(self) -> FetchEntry:
        return self.entry("unknown")

    async def failing(self) -> FetchEntry:
        return self.entry("down")

    async def hanging(self) -> FetchEntry:
        return self.entry("hanging")

    async def timing_out(self) -> FetchEntry:
        return self.entry("hanging", timeout=0.02)

    async def misconfigured(self) -> FetchEntry:
        return replace(self.entry("document", timeout="soon"), blames="config.timeout")


class ShelfFetcher(Fetcher):
    """Keeps every promise."""

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        shown = url.replace("bob:hunter2@", "")
        timeout = config.get("timeout", 60)
        if not isinstance(timeout, int | float):
            raise FetchError(f"{shown}: config.timeout must be seconds", url=shown, again=False)
        try:
            with anyio.fail_after(timeout):
                return await self.look_up(urlsplit(url).path[1:], shown)
        except TimeoutError as err:
            raise FetchTimeoutError(f"{shown} did not answer", url=shown) from err

    async def look_up(self, name: str, shown: str) -> bytes:
        await anyio.lowlevel.checkpoint()
        if name == "hanging":
            await anyio.sleep_forever()
        if name == "down":
            raise FetchError(f"{shown} is down", url=shown)
        if name not in SHELF:
            raise FetchStatusError(f"{shown} is unknown", url=shown, status_code=404, again=False)
        return SHELF[name]


def offering(fetcher: Callable[[], Fetcher]) -> FetcherType:
    @asynccontextmanager
    async def open_fetcher(_: object) -> AsyncGenerator[Fetcher]:
        yield fetcher()

    return FetcherType(name="shelf", summary="Documents from a shelf", open=open_fetcher, schemes=("shelf",))


class TestShelfFetcher(FetcherContract):
    """A fetcher that keeps every promise passes."""

    @pytest.fixture
    def fetcher_type(self) -> FetcherType:
        return offering(ShelfFetcher)

    @pytest.fixture
    def source(self) -> FetchSource:
        return ShelfSource()


# --------------------------------------------------------------------------------------------- those that break one


class Altering(ShelfFetcher):
    """Returns something else than the shelf holds."""

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        return self.altered(await super().fetch(url, config))

    def altered(self, raw: bytes) -> bytes:
        return b"[%b]" % raw


class ForgetsCharacters(Altering):
    def altered(self, raw: bytes) -> bytes:
        return raw.decode().encode("ascii", "replace")


class RoundsNumbers(Altering):
    def altered(self, raw: bytes) -> bytes:
        return json.dumps(json.loads(raw, parse_int=float)).encode()


class CutsOff(Altering):
    def altered(self, raw: bytes) -> bytes:
        return raw if len(raw) < 1_000_000 else b"[]"


class ReturnsObjects(Altering):
    def altered(self, raw: bytes) -> bytes:
        return json.loads(raw)


class Caches(ShelfFetcher):
    def __init__(self) -> None:
        self.cache: dict[str, bytes] = {}

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        if url not in self.cache:
            self.cache[url] = await super().fetch(url, config)
        return self.cache[url]


class ChangesTheConfig(ShelfFetcher):
    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        assert isinstance(config, dict)
        config["fetched"] = True
        return await super().fetch(url, config)


class Telling(ShelfFetcher):
    """Raises another error than it should."""

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        try:
            return await super().fetch(url, config)
        except FetchError as err:
            raise self.told(err, url) from None

    def told(self, err: FetchError, url: str) -> BaseException:
        del url
        return FetchError(str(err), url=err.url, again=not err.again)


class RaisesForeignErrors(Telling):
    def told(self, err: FetchError, url: str) -> BaseException:
        del url
        return OSError(str(err))


class HasNoTimeoutError(Telling):
    def told(self, err: FetchError, url: str) -> BaseException:
        del url
        return FetchError(str(err), url=err.url)


class BlamesNothing(Telling):
    def told(self, err: FetchError, url: str) -> BaseException:
        del url
        return FetchError("something is wrong", url=err.url, again=False)


class NamesNoUrl(Telling):
    def told(self, err: FetchError, url: str) -> BaseException:
        del url
        return FetchError("no", url="", again=err.again)


class NamesThePassword(Telling):
    def told(self, err: FetchError, url: str) -> BaseException:
        return FetchError(f"{url} is no good", url=url, again=err.again)


class LogsTheToken(ShelfFetcher):
    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        structlog.get_logger().info("fetch.started", config=config)
        return await super().fetch(url, config)


class SharesItsState(ShelfFetcher):
    name = ""

    async def look_up(self, name: str, shown: str) -> bytes:
        self.name = name
        await anyio.lowlevel.checkpoint()
        return await super().look_up(self.name, shown)


class TakesTurns(ShelfFetcher):
    def __init__(self) -> None:
        self.lock = anyio.Lock()

    async def look_up(self, name: str, shown: str) -> bytes:
        async with self.lock:
            return await super().look_up(name, shown)


class IgnoresCancellation(ShelfFetcher):
    async def look_up(self, name: str, shown: str) -> bytes:
        with anyio.move_on_after(0.6, shield=True):
            return await super().look_up(name, shown)
        return b"{}"


class LosesConnections(ShelfFetcher):
    def __init__(self) -> None:
        self.free = anyio.Semaphore(50)

    async def look_up(self, name: str, shown: str) -> bytes:
        await self.free.acquire()
        found = await super().look_up(name, shown)
        self.free.release()
        return found


class LeavesTasks(ShelfFetcher):
    async def look_up(self, name: str, shown: str) -> bytes:
        leave_a_task()
        return await super().look_up(name, shown)


class DiesOfErrors(ShelfFetcher):
    dead = False

    async def look_up(self, name: str, shown: str) -> bytes:
        if self.dead:
            raise FetchError(f"{shown} is no more", url=shown)
        try:
            return await super().look_up(name, shown)
        except FetchError:
            self.dead = True
            raise


LEFT: list[object] = []


def leave_a_task() -> None:
    try:
        LEFT.append(asyncio.get_running_loop().create_task(asyncio.sleep(1.5)))
    except RuntimeError:
        trio: Any = sys.modules["trio"]
        LEFT.append(trio.lowlevel.spawn_system_task(trio.sleep, 1.5))


class EndsTogether(ShelfFetcher):
    """Fetchers that share one connection, which the first to close closes for all."""

    opened: ClassVar[int] = 0

    async def look_up(self, name: str, shown: str) -> bytes:
        if not EndsTogether.opened:
            raise FetchError(f"{shown}: closed", url=shown)
        return await super().look_up(name, shown)


@asynccontextmanager
async def open_together(_: object) -> AsyncGenerator[Fetcher]:
    EndsTogether.opened = 1
    yield EndsTogether()
    EndsTogether.opened = 0


GOOD = offering(ShelfFetcher)

BROKEN: list[tuple[str, FetcherType]] = [
    ("test_fetch_returns_the_document", offering(Altering)),
    ("test_fetch_returns_the_document", offering(ReturnsObjects)),
    ("test_fetch_keeps_every_character", offering(ForgetsCharacters)),
    ("test_fetch_keeps_every_digit", offering(RoundsNumbers)),
    ("test_fetch_returns_a_large_document_whole", offering(CutsOff)),
    ("test_fetch_returns_what_the_source_holds_now", offering(Caches)),
    ("test_fetch_leaves_the_config_alone", offering(ChangesTheConfig)),
    ("test_refusal_is_final", offering(Telling)),
    ("test_refusal_is_final", offering(RaisesForeignErrors)),
    ("test_failure_may_pass", offering(Telling)),
    ("test_silence_ends_in_a_timeout", offering(HasNoTimeoutError)),
    ("test_wrong_config_is_named", offering(BlamesNothing)),
    ("test_errors_name_the_url", offering(NamesNoUrl)),
    ("test_secrets_stay_secret", offering(NamesThePassword)),
    ("test_secrets_stay_secret", offering(LogsTheToken)),
    ("test_fetches_run_side_by_side", offering(SharesItsState)),
    ("test_a_hanging_source_delays_no_other", offering(TakesTurns)),
    ("test_cancelled_fetch_ends_at_once", offering(IgnoresCancellation)),
    ("test_cancelled_fetches_leave_nothing_behind", offering(LosesConnections)),
    ("test_cancelled_fetches_leave_nothing_behind", offering(LeavesTasks)),
    ("test_fetcher_survives_errors", offering(DiesOfErrors)),
    ("test_closing_leaves_nothing_behind", replace(GOOD, open=open_together)),
    ("test_registration_is_complete", replace(GOOD, name="the shelf")),
    ("test_registration_is_complete", replace(GOOD, schemes=("SHELF://",))),
]


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is not waited for as long as on a busy machine."""
    monkeypatch.setattr("cabochon.testing.fetcher_contract.PROMPT_S", 0.5)


async def run(test: Callable[..., Any], offered: FetcherType) -> None:
    async with offered.open(None) as fetcher:
        given = {"fetcher": fetcher, "source": ShelfSource(), "fetcher_type": offered, "settings": None}
        result = test(**{name: given[name] for name in inspect.signature(test).parameters})
        if inspect.isawaitable(result):
            await result


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize(("test", "offered"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
async def test_kit_names_the_promise_that_a_fetcher_breaks(test: str, offered: FetcherType) -> None:
    """A fetcher that breaks one promise fails the test of that promise, in the promise's words."""
    bound = getattr(FetcherContract(), test)
    promise = " ".join((inspect.getdoc(bound) or "").split())

    with pytest.raises(BaseException) as caught:  # noqa: PT011 # whichever way it fails
        await run(bound, offered)

    assert f"Broken promise: {promise}" in caught.value.__notes__


def test_kit_has_a_breaker_for_each_promise() -> None:
    """No test of the kit is without a fetcher that fails it."""
    assert {name for name in vars(FetcherContract) if name.startswith("test_")} == {test for test, _ in BROKEN}
