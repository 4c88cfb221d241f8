"""What the plugin offers, and under which variables."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cabochon.errors import ConfigurationError
from cabochon.settings.model import load_settings, variables_of
from cabochon_http_fetcher.config import FetchConfig, read_config
from cabochon_http_fetcher.plugin import cabochon_fetchers
from cabochon_http_fetcher.settings import HttpFetcherSettings


def test_hook_cabochon_fetchers_offers_http() -> None:
    """Entries find it by name, by the peer's name, and by their URL's scheme."""
    (offered,) = cabochon_fetchers()

    assert ("http", ("HttpFetchProvider",), ("http", "https")) == (offered.name, offered.aliases, offered.schemes)
    assert offered.settings is HttpFetcherSettings


def test_settings_are_the_peers() -> None:
    """Variables that the peer has keep their names, units and defaults."""
    environ = {
        "OPAL_HTTP_FETCHER_TIMEOUT": "1.5",
        "OPAL_HTTP_FETCHER_PROVIDER_CLIENT": "httpx",
        "OPAL_CLIENT_SELF_SIGNED_CERTIFICATES_ALLOWED": "true",
        "OPAL_CLIENT_SSL_CONTEXT_TRUSTED_CA_FILE": "/ca.pem",
    }
    settings = load_settings(HttpFetcherSettings, environ)

    assert (timedelta(seconds=1.5), "/ca.pem") == (settings.timeout, settings.ca_file)
    assert timedelta(seconds=5) == load_settings(HttpFetcherSettings, {}).timeout


@pytest.mark.parametrize(
    "variable", ["OPAL_HTTP_FETCHER_TIMEOUT", "OPAL_HTTP_FETCHER_MAX_BYTES", "OPAL_HTTP_FETCHER_MAX_CONNECTIONS"]
)
def test_settings_refuse_what_makes_no_sense(variable: str) -> None:
    """A limit of nothing stops the start with the variable's name."""
    with pytest.raises(ConfigurationError, match=variable):
        load_settings(HttpFetcherSettings, {variable: "0"})


def test_plugin_imports_nothing_heavy() -> None:
    """Looking at what is installed does not import the HTTP client."""
    code = (
        "import sys, cabochon_http_fetcher.plugin as p; list(p.cabochon_fetchers()); sys.exit('aiohttp' in sys.modules)"
    )

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_readme_lists_every_setting_and_every_member() -> None:
    """A reader finds each variable with its default, and each member of `config`."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    variables = {names[0] for names in variables_of(HttpFetcherSettings).values()}

    assert set() == {variable for variable in variables if f"| `{variable}` |" not in readme}
    assert set() == {name for name in FetchConfig.__struct_fields__ if f"`{name}`" not in readme} - {"fetcher"}


def test_readme_shows_an_entry_that_is_right() -> None:
    """The example in the README is an entry whose `config` is accepted."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    entry = json.loads(readme.split("```json")[1].split("```")[0])

    assert 2.5 == read_config(entry["config"], url=entry["url"]).timeout
