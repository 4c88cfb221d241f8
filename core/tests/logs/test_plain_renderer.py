"""Lines without colours are those of structlog's console, character by character."""

from __future__ import annotations

from typing import Any

import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from cabochon.logs.plain_renderer import PlainRenderer

CONSOLE = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
COLUMNS = {"timestamp": "2026-11-29T00:42:33.651124", "level": "info", "event": "transaction.ended"}

_values = st.one_of(
    st.text(max_size=8), st.sampled_from(["a b", "a=b", "it's", 'a "b"', "a\nb", "", " "]), st.integers()
)
_extra = st.dictionaries(st.text("abz_", min_size=1, max_size=3), _values | st.tuples(_values), max_size=4)
_levels = st.sampled_from(["debug", "info", "warning", "error", "exception", "critical"])
_columns = st.fixed_dictionaries(
    {},
    optional={
        "timestamp": st.just(COLUMNS["timestamp"]) | st.just(""),
        "level": _levels,
        "event": st.text(max_size=40) | st.integers(),
        "logger": st.just("aiohttp.client"),
        "stack": st.just("Stack (most recent call last)"),
        "exception": st.just("Traceback (most recent call last)"),
    },
)


@given(_columns, _extra)
@example({**COLUMNS}, {})
@example({**COLUMNS}, {"update_id": "u1", "actions": ("set_policy_data",), "success": True})
@example({**COLUMNS, "event": "x" * 40}, {"b": "", "a": " "})
def test_line_is_the_one_of_the_console(columns: dict[str, Any], extra: dict[str, Any]) -> None:
    event = {**columns, **extra}
    assert CONSOLE(None, "info", dict(event)) == PlainRenderer(CONSOLE)(None, "info", dict(event))


def test_frequent_lines_do_without_the_console() -> None:
    """Which is what they are for."""

    def never(_logger: Any, _method: str, _event: Any) -> str:  # noqa: ANN401 - a processor's signature
        raise AssertionError

    line = PlainRenderer(never)(None, "info", {**COLUMNS, "number": 7, "why": "no answer"})
    assert "2026-11-29T00:42:33.651124 [info     ] transaction.ended              number=7 why='no answer'" == line
