"""The log in Redis keeps the contract of backbones, that of shared ones too."""

import pytest

from cabochon import BackboneType
from cabochon.testing.backbone_contract import Opened
from cabochon.testing.shared_backbone_contract import Restartable, SharedBackboneContract
from cabochon_redis_backbone.plugin import cabochon_backbones
from cabochon_redis_backbone.settings import RedisBackboneSettings
from cabochon_redis_backbone.testing import RedisServer


class TestRedisLog(SharedBackboneContract):
    @pytest.fixture
    def backbone_type(self) -> BackboneType:
        (offered,) = cabochon_backbones()
        return offered

    @pytest.fixture
    def opened(self, redis: RedisServer, settings: RedisBackboneSettings, backbone_type: BackboneType) -> Opened:
        return lambda: backbone_type.open(settings, redis.url)

    @pytest.fixture
    def restartable(
        self, own_redis: RedisServer, settings: RedisBackboneSettings, backbone_type: BackboneType
    ) -> Restartable:
        return Restartable(
            url=own_redis.url,
            opened=lambda: backbone_type.open(settings, own_redis.url),
            stop=own_redis.stop,
            start=own_redis.start,
        )
