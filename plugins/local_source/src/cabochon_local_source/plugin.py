"""What this plugin offers: the update source `local`."""

from collections.abc import Iterator

from cabochon import UpdateSourceType, hookimpl
from cabochon_local_source.settings import LocalSourceSettings
from cabochon_local_source.source import open_local_source

__all__ = ["cabochon_update_sources"]


@hookimpl
def cabochon_update_sources() -> Iterator[UpdateSourceType]:
    """Offer `local`."""
    yield UpdateSourceType(
        name="local",
        summary="Updates from a file or standard input, policies from a folder",
        open=open_local_source,
        for_tests=True,
        settings=LocalSourceSettings,
    )
