"""The settings of the log: where it is, and how much of it is kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field

from cabochon import Retention, Seconds, Settings

__all__ = ["RetentionSettings", "SqliteLogSettings"]


class SqliteLogSettings(Settings):
    """Where the log of one server without a broadcaster is."""

    base_dir: Path = Field(
        default=Path("~/.local/state/opal"),
        validation_alias="OPAL_BASE_DIR",
        description="The folder for what the server keeps.",
    )
    update_log_path: Path | None = Field(
        default=None,
        validation_alias="OPAL_UPDATE_LOG_PATH",
        description="The file of the update log; unset: update_log.db in OPAL_BASE_DIR, with the server's port in its "
        "name where that is not 7002.",
    )

    def path(self, name: str = "update_log.db") -> Path:
        """The file of the log; by default a file of this name."""
        return (self.update_log_path or self.base_dir / name).expanduser()


class RetentionSettings(Settings):
    """How much of the log is kept, whatever backbone it is in."""

    update_log_max_age: Seconds = Field(
        default=timedelta(days=7),
        gt=timedelta(0),
        validation_alias="OPAL_UPDATE_LOG_MAX_AGE",
        description="Seconds that an update stays in the log; an agent that was away for longer loads everything anew.",
    )
    update_log_max_bytes: int = Field(
        default=1 << 30,
        ge=1 << 20,
        validation_alias="OPAL_UPDATE_LOG_MAX_BYTES",
        description="How large the log may get, in bytes; then the oldest updates go.",
    )

    @property
    def retention(self) -> Retention:
        """Both, for `Backbone.trim`."""
        return Retention(max_age_s=self.update_log_max_age.total_seconds(), max_bytes=self.update_log_max_bytes)
