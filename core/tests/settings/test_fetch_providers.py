"""OPAL's fetch providers: none is loaded, and whoever asks for one hears what to do."""

import pytest
from structlog.testing import capture_logs

from cabochon.settings.fetch_providers import no_fetcher, warn_of_modules


def test_module_that_is_not_opal_s_own_is_warned_about() -> None:
    """
    Once, at the start; the default, and what is below it, is fine.
    """
    with capture_logs() as events:
        warn_of_modules(
            ["opal_common.fetcher.providers", "opal_common.fetcher.providers.http_fetch_provider", "opal_fetcher_x.y"]
        )

    (event,) = events
    assert ("fetch_provider.not_loaded", "warning", "opal_fetcher_x.y") == (
        event["event"],
        event["log_level"],
        event["module"],
    )
    assert "cabochon_fetchers" in event["why"]


@pytest.mark.parametrize("name", ["PostgresFetchProvider", "FastApiRpcFetchProvider", "MongoDBFetchProvider"])
def test_name_of_a_provider_points_to_the_how_to(name: str) -> None:
    """
    All of them are called so.
    """
    said = no_fetcher(name, ["http", "httpfetchprovider"])

    assert f"no fetcher is named '{name}'; installed: http, httpfetchprovider; OPAL's providers become plugins" in said
    assert "cabochon_fetchers" in said
    assert "how-to/port-a-fetch-provider" in said


def test_any_other_name_names_the_hook() -> None:
    """
    Without the way from OPAL.
    """
    said = no_fetcher("ldap", [])

    assert "no fetcher is named 'ldap'; installed: none; a plugin offers one with the hook cabochon_fetchers" == said
