"""The OPAL source keeps the contract of update sources, in front of a scripted server."""

from collections.abc import Iterator

import pytest

from cabochon import Settings, UpdateSourceType, load_settings
from cabochon.testing.update_source_contract import UpdateSourceContract
from cabochon_opal_source.plugin import cabochon_update_sources
from cabochon_opal_source.settings import OpalSourceSettings

from .opal_server import OpalServer


class TestOpalSource(UpdateSourceContract):
    @pytest.fixture
    def feed(self) -> Iterator[OpalServer]:
        with OpalServer() as server:
            yield server

    @pytest.fixture
    def source_type(self) -> UpdateSourceType:
        (offered,) = cabochon_update_sources()
        return offered

    @pytest.fixture
    def settings(self, feed: OpalServer) -> Settings:
        return load_settings(OpalSourceSettings, {"OPAL_SERVER_URL": feed.url})
