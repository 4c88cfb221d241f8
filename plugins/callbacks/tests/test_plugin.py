"""What the plugin offers, and under which variables."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cabochon.contract.callback_reporter import Callback
from cabochon.errors import ConfigurationError
from cabochon.settings.model import load_settings, variables_of
from cabochon_callbacks.delivery import read_config
from cabochon_callbacks.plugin import cabochon_callback_reporters
from cabochon_callbacks.settings import CallbacksSettings

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_hook_cabochon_callback_reporters_offers_http() -> None:
    """Callbacks find it by their URL's scheme."""
    (offered,) = cabochon_callback_reporters()

    assert ("http", ("http", "https")) == (offered.name, offered.schemes)
    assert offered.settings is CallbacksSettings


def test_settings_are_the_peers() -> None:
    """The peer calls callbacks under the variables of its HTTP fetcher."""
    assert timedelta(seconds=2) == load_settings(CallbacksSettings, {"OPAL_HTTP_FETCHER_TIMEOUT": "2"}).timeout
    with pytest.raises(ConfigurationError, match="OPAL_HTTP_FETCHER_TIMEOUT"):
        load_settings(CallbacksSettings, {"OPAL_HTTP_FETCHER_TIMEOUT": "0"})


def test_plugin_imports_nothing_heavy() -> None:
    """Looking at what is installed does not import the HTTP client."""
    code = (
        "import sys, cabochon_callbacks.plugin as p; list(p.cabochon_callback_reporters());"
        "sys.exit('httpx' in sys.modules)"
    )

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_readme_lists_every_setting() -> None:
    """A reader finds each variable."""
    variables = {names[0] for names in variables_of(CallbacksSettings).values()}

    assert set() == {variable for variable in variables if f"| `{variable}` |" not in README}


def test_readme_shows_a_callback_that_is_right() -> None:
    """The example in the README is a callback whose configuration is accepted."""
    ((url, config),) = json.loads(README.split("```json")[1].split("```")[0])["callbacks"]

    assert 2.5 == read_config(Callback(url=url, config=config)).timeout
