"""A library that does not come with the core is asked for in one line."""

from __future__ import annotations

import importlib
import sys

import pytest

from cabochon.kit.extras import needs_extra


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("cabochon.kit.http.auth", "httpx", "http"),
        ("cabochon.kit.http.engine", "httpx", "http"),
        ("cabochon.kit.web.prometheus", "prometheus_client", "web"),
    ],
)
def test_module_without_its_library_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, library: str, extra: str
) -> None:
    """
    Who lacks a library is told what to install.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == library or name == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "cabochon.kit.http.auth", raising=False)
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(
        ImportError, match=rf"^{library}\S* is not installed: pip install 'cabochon\[{extra}\]' brings it$"
    ):
        importlib.import_module(module)


def test_other_errors_stay_what_they_are() -> None:
    """
    A library that is there and breaks is not called missing.
    """
    with pytest.raises(ImportError, match="broken"), needs_extra("http"):
        raise ImportError("broken")
