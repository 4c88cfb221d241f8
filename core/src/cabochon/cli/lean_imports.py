"""Keep out of a process what libraries load only to look good on a terminal, if it is installed."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from importlib import import_module
from types import ModuleType
from typing import cast

__all__ = ["load_without_rich"]


def load_without_rich() -> None:
    """Load structlog without rich, and see to it that httpx will do without.

    structlog loads rich for tracebacks in colour, which `configure_logging` does not use; httpx for a command of its
    own. Together that is 4 MB of an agent's memory. Whoever shows tables can load rich all the same. Call it before
    either is imported; later it does nothing.
    """
    # An entry of None makes an import fail as if nothing were installed; both libraries allow for that.
    modules = cast("MutableMapping[str, ModuleType | None]", sys.modules)
    modules.setdefault("httpx._main", None)
    if "rich" not in modules:
        modules["rich"] = None
        try:
            import_module("structlog")
        finally:
            del modules["rich"]
