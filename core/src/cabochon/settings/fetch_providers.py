"""OPAL's fetch providers, as its users know them: modules in a setting, and class names in an entry's `config.fetcher`.

Here fetchers come from plugins. `HttpFetchProvider` is another name of the plugin for HTTP; what has no plugin yet is
named, with the way to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import structlog

__all__ = ["OWN_PROVIDERS", "no_fetcher", "warn_of_modules"]

log = structlog.get_logger()

OWN_PROVIDERS: Final = "opal_common.fetcher.providers"
"""The module of the providers that come with OPAL itself."""

HOW_TO: Final = (
    "OPAL's providers become plugins with the hook cabochon_fetchers: see docs/how-to/port-a-fetch-provider.md"
)
_LIKE_OPAL: Final = "fetchprovider"


def warn_of_modules(modules: Iterable[str]) -> None:
    """Log a warning for each module of fetch providers that is not OPAL's own: nothing here can load one."""
    for module in modules:
        if module != OWN_PROVIDERS and not module.startswith(f"{OWN_PROVIDERS}."):
            log.warning("fetch_provider.not_loaded", variable="OPAL_FETCH_PROVIDER_MODULES", module=module, why=HOW_TO)


def no_fetcher(name: str, installed: Sequence[str]) -> str:
    """Say that an entry asks for a fetcher that is not there, what is, and how to get it."""
    known = f"no fetcher is named {name!r}; installed: {', '.join(installed) or 'none'}"
    if name.casefold().endswith(_LIKE_OPAL):
        return f"{known}; {HOW_TO}"
    return f"{known}; a plugin offers one with the hook cabochon_fetchers"
