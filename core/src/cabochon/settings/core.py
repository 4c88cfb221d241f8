"""The core's own settings; each plugin owns a model like these for its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from cabochon.schemas import UpdateCallback
from cabochon.settings.conn_retry import NO_TIME, ConnRetryOptions
from cabochon.settings.fetch_providers import OWN_PROVIDERS
from cabochon.settings.log import LogSettings
from cabochon.settings.model import CommaList, Masked, Seconds, Settings, load_settings
from cabochon.settings.notation import CALLBACK_CONFIG, callback_config_of, callbacks_of

__all__ = [
    "CommaList",
    "CoreSettings",
    "DiscoverySettings",
    "LogSettings",
    "Masked",
    "Seconds",
    "Settings",
    "load_settings",
]


# ------------------------------------------------------------------------------------------- how values are written


# --------------------------------------------------------------------------------------------------- the settings


class DiscoverySettings(Settings):
    """Which plugins take part."""

    plugins_disabled: CommaList = Field(
        default=(),
        validation_alias="OPAL_PLUGINS_DISABLED",
        description="Plugins to leave out, by the names that `cabochon plugins` shows.",
    )
    plugins_trace: bool = Field(
        default=False,
        validation_alias="OPAL_PLUGINS_TRACE",
        description="Log each call of a plugin's hook with the plugin's name and how long it took.",
    )


# size: a field for each setting, and nothing else
class CoreSettings(DiscoverySettings, LogSettings):
    """Everything the core itself can be told."""

    # ---------------------------------------------------------------------------------------- what is chosen
    policy_store_type: str | None = Field(
        default=None,
        validation_alias="OPAL_POLICY_STORE_TYPE",
        description="Name of the policy store to keep in sync; unset: the one that OPAL has, if it is installed,"
        " else the only one that is not for tests.",
    )
    update_source: str | None = Field(
        default=None,
        validation_alias="OPAL_UPDATE_SOURCE",
        description="Name of the update source to follow; unset: the one that OPAL has, if it is installed,"
        " else the only one that is not for tests.",
    )
    data_updater_enabled: bool = Field(
        default=True,
        validation_alias="OPAL_DATA_UPDATER_ENABLED",
        description="Keep data in sync; if not, data does not count for ready and healthy.",
    )
    policy_updater_enabled: bool = Field(
        default=True,
        validation_alias="OPAL_POLICY_UPDATER_ENABLED",
        description="Keep policies in sync; if not, policies do not count for ready and healthy.",
    )

    # ------------------------------------------------------------------------------------------ offline mode
    offline_mode_enabled: bool = Field(
        default=False,
        validation_alias="OPAL_OFFLINE_MODE_ENABLED",
        description="Keep what was written into the policy store on disk, so that a restart serves it even if the "
        "update source can't be reached.",
    )
    store_backup_path: Path = Field(
        default=Path("/opal/backup/store.db"),
        validation_alias="OPAL_STORE_BACKUP_PATH",
        description="Where offline mode keeps that: a file of this agent alone, made if it is missing.",
    )
    store_backup_interval: Seconds = Field(
        default=timedelta(seconds=1),
        validation_alias="OPAL_STORE_BACKUP_INTERVAL",
        description="Seconds between two backups at least. The first change after a pause is written at once; of what "
        "came in between, a crash may cost the last interval.",
        ge=NO_TIME,
    )
    default_connectivity_disabled: bool = Field(
        default=False,
        validation_alias="OPAL_DEFAULT_OPAL_SERVER_CONNECTIVITY_DISABLED",
        description="In offline mode, leave the update source alone from the start if a complete backup was loaded.",
    )

    # ---------------------------------------------------------------------------------------------- fetching
    fetch_provider_modules: CommaList = Field(
        default=(OWN_PROVIDERS,),
        validation_alias="OPAL_FETCH_PROVIDER_MODULES",
        description="Modules of OPAL's fetch providers. None is loaded, since plugins bring the fetchers; one that is "
        "not OPAL's own is warned about.",
    )
    fetching_worker_count: int = Field(
        default=256,
        validation_alias="OPAL_FETCHING_WORKER_COUNT",
        description="Fetches side by side: enough that sources which hang do not keep the others waiting. One host has "
        "half of them, a sixteenth after it failed; hosts that failed or were not asked before have half together.",
        ge=1,
        le=65_536,
    )
    fetch_retries_per_second: float = Field(
        default=50.0,
        validation_alias="OPAL_FETCH_RETRIES_PER_SECOND",
        description="How many fetches that fail may be tried again in a second, all of them together, so that sources "
        "which are down cost so much and no more.",
        gt=0,
    )
    fetching_callback_timeout: Seconds = Field(
        default=timedelta(seconds=10),
        validation_alias="OPAL_FETCHING_CALLBACK_TIMEOUT",
        description="Deadline for all fetches of a live update, retries included, in seconds.",
        gt=NO_TIME,
    )
    data_updater_conn_retry: ConnRetryOptions = Field(
        default=ConnRetryOptions(
            wait_strategy="random_exponential",
            wait_time=timedelta(seconds=1),
            max_wait=timedelta(seconds=10),
            attempts=5,
        ),
        validation_alias=AliasChoices("OPAL_DATA_UPDATER_CONN_RETRY", "OPAL_DATA_STORE_CONN_RETRY"),
        description="Retries of a fetch inside its deadline, as JSON: wait_strategy (fixed, exponential or "
        "random_exponential), wait_time and max_wait in seconds, attempts.",
    )
    fetch_retry_max_wait: Seconds = Field(
        default=timedelta(seconds=60),
        validation_alias="OPAL_FETCH_RETRY_MAX_WAIT",
        description="Longest wait between two tries, in the background, of a fetch that failed, in seconds.",
        gt=NO_TIME,
    )

    # ----------------------------------------------------------------------------------------------- writing
    commit_deadline: Seconds = Field(
        default=timedelta(seconds=5),
        validation_alias="OPAL_COMMIT_TIMEOUT",
        description="Deadline of one commit into the policy store, in seconds; then the store counts as down.",
        gt=NO_TIME,
    )
    probe_enabled: bool = Field(
        default=True,
        validation_alias="OPAL_POLICY_STORE_LIVENESS_PROBE_ENABLED",
        description="Ask an idle policy store whether it is up and still holds our state; if not, its loss is noticed "
        "by the next update only, which never lands in an emptied store.",
    )
    probe_interval: Seconds = Field(
        default=timedelta(seconds=1),
        validation_alias=AliasChoices("OPAL_POLICY_STORE_LIVENESS_PROBE_INTERVAL_SECONDS", "OPAL_PROBE_INTERVAL"),
        description="How often an idle policy store is asked, in seconds; more than 5 counts as 5, so that an emptied "
        "one is found in time.",
        gt=NO_TIME,
    )
    probe_timeout: Seconds = Field(
        default=timedelta(seconds=3),
        validation_alias="OPAL_POLICY_STORE_LIVENESS_PROBE_TIMEOUT_SECONDS",
        description="How long to wait for the policy store's answer to that, in seconds; more than 5 counts as 5. A "
        "store that hangs is found after interval and timeout.",
        gt=NO_TIME,
    )
    pipeline_max_updates: int = Field(
        default=10_000,
        validation_alias="OPAL_PIPELINE_MAX_UPDATES",
        description="Updates under way at most; beyond that the update source has to wait.",
        ge=1,
    )
    pipeline_max_bytes: int = Field(
        default=256 * 1024 * 1024,
        validation_alias="OPAL_PIPELINE_MAX_BYTES",
        description="Size of all updates under way at most, in bytes; beyond that the update source has to wait.",
        ge=1,
    )

    # ----------------------------------------------------------------------------------------------- reports
    should_report_on_data_updates: bool = Field(
        default=False,
        validation_alias="OPAL_SHOULD_REPORT_ON_DATA_UPDATES",
        description="Report how each data update went to the callbacks.",
    )
    default_update_callbacks: Annotated[UpdateCallback, BeforeValidator(callbacks_of), Masked()] = Field(
        default=UpdateCallback(),
        validation_alias="OPAL_DEFAULT_UPDATE_CALLBACKS",
        description='Who gets every report: {"callbacks": [...]} or [...] with URLs and [URL, config] pairs inside, '
        "or URLs separated by commas.",
    )
    default_update_callback_config: Annotated[Mapping[str, Any], BeforeValidator(callback_config_of), Masked()] = Field(
        default=CALLBACK_CONFIG,
        validation_alias="OPAL_DEFAULT_UPDATE_CALLBACK_CONFIG",
        description="How reports are sent where a callback has no config of its own, as JSON; what it leaves out "
        "stays as in the default.",
    )
    report_outbox_size: int = Field(
        default=10_000,
        validation_alias="OPAL_REPORT_OUTBOX_SIZE",
        description="Reports waiting for delivery at most; beyond that one of the receiver with most is dropped, logged"
        " and counted.",
        ge=1,
    )
    report_workers: int = Field(
        default=50,
        validation_alias="OPAL_REPORT_WORKERS",
        description="Reports delivered side by side at most. One host is given half of them, and one after it failed; "
        "hosts that fail, or were not called before, have half of them together.",
        ge=1,
        le=10_000,
    )
    report_receivers: int = Field(
        default=1_000,
        validation_alias="OPAL_REPORT_RECEIVERS",
        description="Callbacks that one update may name; those beyond are left out, logged and counted.",
        ge=0,
    )
    report_timeout: Seconds = Field(
        default=timedelta(seconds=10),
        validation_alias="OPAL_REPORT_TIMEOUT",
        description="Deadline of one delivery of a report, in seconds.",
        gt=NO_TIME,
    )
