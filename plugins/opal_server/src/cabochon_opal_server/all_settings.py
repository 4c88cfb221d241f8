"""The settings of all rooms: side by side for the server, in one model for `cabochon config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cabochon import load_settings
from cabochon_opal_server.data.settings import DataSettings
from cabochon_opal_server.delivery.settings import DeliverySettings
from cabochon_opal_server.log.settings import RetentionSettings
from cabochon_opal_server.policy.settings import PolicySettings
from cabochon_opal_server.scopes.settings import ScopeSettings
from cabochon_opal_server.security.settings import SecuritySettings
from cabochon_opal_server.settings import ServerSettings

__all__ = ["ROOMS", "AllServerSettings", "RoomSettings"]

ROOMS = (
    ServerSettings,
    DataSettings,
    DeliverySettings,
    PolicySettings,
    RetentionSettings,
    ScopeSettings,
    SecuritySettings,
)


class AllServerSettings(
    ServerSettings, DataSettings, DeliverySettings, PolicySettings, RetentionSettings, ScopeSettings, SecuritySettings
):
    """The settings of all rooms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSettings:
    """What each room reads."""

    server: ServerSettings
    data: DataSettings
    delivery: DeliverySettings
    policy: PolicySettings
    retention: RetentionSettings
    scopes: ScopeSettings
    security: SecuritySettings

    @classmethod
    def load(cls, server: ServerSettings, environ: Mapping[str, str] | None) -> RoomSettings:
        """Read those of the other rooms, from `environ`, or from the process's environment if it is None.

        Raises:
            ConfigurationError: one is wrong; the message names it.
        """
        return cls(
            server=server,
            data=load_settings(DataSettings, environ),
            delivery=load_settings(DeliverySettings, environ),
            policy=load_settings(PolicySettings, environ),
            retention=load_settings(RetentionSettings, environ),
            scopes=load_settings(ScopeSettings, environ),
            security=load_settings(SecuritySettings, environ),
        )
