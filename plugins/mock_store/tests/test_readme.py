"""The README says what is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cabochon_mock_store import MockEngine
from cabochon_mock_store.settings import MockStoreSettings

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("snippet", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_snippet_runs(snippet: str) -> None:
    """Every snippet runs as it stands."""
    subprocess.run([sys.executable, "-c", snippet], check=True)


def test_settings_are_listed() -> None:
    """The table of settings names each variable."""
    variables = {str(field.validation_alias) for field in MockStoreSettings.model_fields.values()}

    assert variables == set(re.findall(r"^\| `(OPAL_\w+)`", README, re.MULTILINE))


def test_attributes_exist() -> None:
    """Whatever of the engine the README names is there."""
    engine = MockEngine()
    named = set(re.findall(r"`engine\.(\w+)", README))

    assert {name for name in named if not hasattr(engine, name)} == set()
