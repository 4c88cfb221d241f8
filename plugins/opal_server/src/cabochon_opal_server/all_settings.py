"""Every setting of the server in one model, for `cabochon config`; the server itself reads each room's."""

from __future__ import annotations

from cabochon_opal_server.data.settings import DataSettings
from cabochon_opal_server.delivery.settings import DeliverySettings
from cabochon_opal_server.log.settings import RetentionSettings
from cabochon_opal_server.policy.settings import PolicySettings
from cabochon_opal_server.scopes.settings import ScopeSettings
from cabochon_opal_server.security.settings import SecuritySettings
from cabochon_opal_server.settings import ServerSettings

__all__ = ["ROOMS", "AllServerSettings"]

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
