"""The log in PostgreSQL keeps the contract of backbones, that of shared ones too."""

import pytest

from cabochon import BackboneType
from cabochon.testing.backbone_contract import Opened
from cabochon.testing.shared_backbone_contract import Restartable, SharedBackboneContract
from cabochon_postgres_backbone.plugin import cabochon_backbones
from cabochon_postgres_backbone.settings import PostgresBackboneSettings
from cabochon_postgres_backbone.testing import PostgresServer


class TestPostgresLog(SharedBackboneContract):
    @pytest.fixture
    def backbone_type(self) -> BackboneType:
        (offered,) = cabochon_backbones()
        return offered

    @pytest.fixture
    def opened(
        self, postgres: PostgresServer, settings: PostgresBackboneSettings, backbone_type: BackboneType
    ) -> Opened:
        return lambda: backbone_type.open(settings, postgres.url)

    @pytest.fixture
    def restartable(
        self, own_postgres: PostgresServer, settings: PostgresBackboneSettings, backbone_type: BackboneType
    ) -> Restartable:
        return Restartable(
            url=own_postgres.url,
            opened=lambda: backbone_type.open(settings, own_postgres.url),
            stop=own_postgres.stop,
            start=own_postgres.start,
        )
