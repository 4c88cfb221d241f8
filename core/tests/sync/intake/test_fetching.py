"""Fetching: which fetcher, how often, until when. Under a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import anyio
import msgspec
import pytest
from trio.testing import MockClock

from cabochon.backoff import Backoff
from cabochon.contract.fetcher import Fetcher
from cabochon.contract.metrics import Metrics
from cabochon.errors import FetchDecodeError, FetchError, FetchTimeoutError
from cabochon.schemas import DataSourceEntry
from cabochon.sync.intake.fetching import FetchOptions, FetchPool


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Trio with a clock that jumps to the next thing to happen."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class _Fetcher(Fetcher):
    def __init__(self, answer: Callable[[int], bytes | Exception], *, takes_s: float = 0.0) -> None:
        self.answer = answer
        self.takes_s = takes_s
        self.at: list[float] = []
        self.side_by_side = self.most = 0

    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        self.at.append(anyio.current_time())
        self.side_by_side += 1
        self.most = max(self.most, self.side_by_side)
        try:
            await anyio.sleep(self.takes_s)
        finally:
            self.side_by_side -= 1
        answer = self.answer(len(self.at))
        if isinstance(answer, Exception):
            raise answer
        return answer


def _pool(fetcher: Fetcher, *, attempts: int = 5, side_by_side: int = 10) -> FetchPool:
    backoff = Backoff(first_s=1, longest_s=10, random=Random(1))  # noqa: S311
    options = FetchOptions(side_by_side=side_by_side, attempts=attempts, backoff=backoff)
    return FetchPool({"mine": fetcher}, {"my": fetcher}, options=options, metrics=Metrics())


def _spec(url: str = "my://x", **more: Any) -> DataSourceEntry:
    return msgspec.convert({"url": url, **more}, DataSourceEntry)


def _down(again: bool = True, retry_after_s: float | None = None) -> FetchError:  # noqa: FBT001, FBT002
    return FetchError("no", url="", again=again, retry_after_s=retry_after_s)


async def test_fetcher_is_chosen_by_name_before_scheme() -> None:
    """
    `config.fetcher` wins, without regard to case.
    """
    pool = _pool(_Fetcher(lambda _: b' {"a": 1.10} '))

    assert b'{"a": 1.10}' == (await pool.fetch(_spec("other://x", config={"fetcher": "Mine"}), 10)).raw
    assert b'{"a": 1.10}' == (await pool.fetch(_spec("MY://x"), 10)).raw


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (_spec("other://x"), "known schemes: my"),
        (_spec("other://x", config={"fetcher": "theirs"}), "'theirs'; installed: mine; a plugin offers one"),
        (_spec(""), "neither data nor url"),
    ],
    ids=["scheme", "name", "nothing"],
)
async def test_entry_without_fetcher_says_what_is_installed(spec: DataSourceEntry, said: str) -> None:
    """
    And is not tried again.
    """
    with pytest.raises(FetchError, match=said) as caught:
        await _pool(_Fetcher(lambda _: b"1")).fetch(spec, 10)

    assert not caught.value.again


async def test_failed_fetch_is_tried_again_until_it_succeeds() -> None:
    """
    With growing pauses.
    """
    fetcher = _Fetcher(lambda tries: _down() if tries < 3 else b"1")

    assert b"1" == (await _pool(fetcher).fetch(_spec(), anyio.current_time() + 100)).raw
    first, second, third = fetcher.at
    assert 0.5 <= second - first <= 1
    assert 1 <= third - second <= 2


async def test_refusal_is_final() -> None:
    """
    A fetch that can't succeed is made once.
    """
    fetcher = _Fetcher(lambda _: _down(again=False))
    with pytest.raises(FetchError):
        await _pool(fetcher).fetch(_spec(), anyio.current_time() + 100)

    assert 1 == len(fetcher.at)


async def test_retry_after_beyond_the_deadline_ends_the_fetch_at_once() -> None:
    """
    Waiting would only hold up whoever comes next.
    """
    began = anyio.current_time()
    with pytest.raises(FetchError):
        await _pool(_Fetcher(lambda _: _down(retry_after_s=60))).fetch(_spec(), began + 10)

    assert began == anyio.current_time()


async def test_hung_source_ends_at_the_deadline() -> None:
    """
    Retries included; the message names the URL without its secrets.
    """
    began = anyio.current_time()
    with pytest.raises(FetchTimeoutError, match=r"my://x\?token=\*\*\* did not answer") as caught:
        await _pool(_Fetcher(lambda _: b"1", takes_s=1_000)).fetch(_spec("my://x?token=abc"), began + 10)

    assert 10 == anyio.current_time() - began
    assert "abc" not in caught.value.url


async def test_no_more_fetches_than_allowed_run_side_by_side() -> None:
    """
    The others wait their turn.
    """
    fetcher = _Fetcher(lambda _: b"1", takes_s=1)
    pool = _pool(fetcher, side_by_side=3)
    async with anyio.create_task_group() as tasks:
        for _ in range(9):
            tasks.start_soon(pool.fetch, _spec(), anyio.current_time() + 100)

    assert (3, 9) == (fetcher.most, len(fetcher.at))


@pytest.mark.parametrize(
    ("raw", "method"),
    [
        (b"<html>", "PUT"),
        (b'{"a": 1', "PUT"),
        (b"", "PUT"),
        (b'{"op": "add"}', "PATCH"),
        (b'[{"op": "nope"}]', "PATCH"),
    ],
)
async def test_what_is_no_json_or_no_patch_is_a_decode_error(raw: bytes, method: str) -> None:
    """
    Whatever the fetcher says it is.
    """
    with pytest.raises(FetchDecodeError):
        await _pool(_Fetcher(lambda _: raw), attempts=1).fetch(_spec(save_method=method), anyio.current_time() + 10)


async def test_fetcher_that_breaks_is_a_failed_fetch() -> None:
    """
    A stranger's bug ends one entry, not the agent.
    """
    with pytest.raises(FetchError, match="_Fetcher failed with KeyError"):
        await _pool(_Fetcher(lambda _: KeyError("oops")), attempts=2).fetch(_spec(), anyio.current_time() + 10)
