"""The settings of the local source read what people have at hand."""

import pytest

from cabochon import ConfigurationError, load_settings
from cabochon_local_source.settings import LocalSourceSettings

ENTRY = '{"url": "https://data.example/users", "dst_path": "/users"}'


def read(value: str) -> LocalSourceSettings:
    return load_settings(LocalSourceSettings, {"OPAL_DATA_CONFIG_SOURCES": value})


@pytest.mark.parametrize(
    "value",
    [f'{{"config": {{"entries": [{ENTRY}]}}}}', f'{{"entries": [{ENTRY}]}}', f"[{ENTRY}]"],
    ids=["setting of the peer", "answer of the peer's server", "list"],
)
def test_data_sources_are_read_in_every_notation(value: str) -> None:
    """
    No notation of the base data sources is taken for an empty list.
    """
    assert ["/users"] == [entry.dst_path for entry in read(value).data_sources.entries]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('{"config": {"entries": [{"dst_path": "/users"}]}}', "missing required field `url`"),
        ('{"external_source_url": "https://data.example/sources"}', "names no entries"),
        ("users.json", "should be"),
    ],
    ids=["no url", "elsewhere", "no JSON"],
)
def test_data_sources_that_cannot_be_used_stop_the_start(value: str, why: str) -> None:
    """
    What is wrong is said, and nothing is left out in silence.
    """
    with pytest.raises(ConfigurationError, match=why):
        read(value)
