"""Whether there are scopes, and how often their repositories are looked at."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from cabochon import Settings
from cabochon.settings.core import Seconds

__all__ = ["ScopeSettings"]


class ScopeSettings(Settings):
    """The settings of scopes."""

    enabled: bool = Field(
        default=False,
        validation_alias="OPAL_SCOPES",
        description="Serve /scopes: each scope has a policy repository and base data sources of its own.",
    )
    refresh_interval: Seconds = Field(
        default=timedelta(0),
        validation_alias="OPAL_POLICY_REFRESH_INTERVAL",
        description="Time between two looks at the repositories of scopes that ask for it (poll_updates); 0 for none.",
        ge=timedelta(0),
    )
