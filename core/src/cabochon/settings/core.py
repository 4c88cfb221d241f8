"""The core's own settings; each plugin owns a model like these for its own."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from cabochon.fetch_providers import OWN_PROVIDERS
from cabochon.log_settings import LogSettings
from cabochon.schemas import UpdateCallback
from cabochon.settings_model import CommaList, Masked, Seconds, Settings, load_settings

__all__ = [
    "CommaList",
    "ConnRetryOptions",
    "CoreSettings",
    "DiscoverySettings",
    "LogSettings",
    "Masked",
    "Seconds",
    "Settings",
    "load_settings",
]

_CALLBACK_CONFIG: dict[str, Any] = {
    "method": "post",
    "headers": {"content-type": "application/json"},
    "process_data": False,
}
_NONE = timedelta(0)
_MINUTE = timedelta(minutes=1)


# ------------------------------------------------------------------------------------------- how values are written


class _JsonNames(ast.NodeTransformer):
    """Let `true`, `false` and `null` stand in a Python literal, as people mix them."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        names = {"true": True, "false": False, "null": None}
        return ast.copy_location(ast.Constant(names[node.id]), node) if node.id in names else node


def _literal(text: str) -> object:
    """Read JSON, or a Python literal with tuples as the peer's page shows; nothing in it is ever executed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(_JsonNames().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(
            'should be {"callbacks": [...]} or [...] with URLs and [URL, config] pairs inside, '
            "or URLs separated by commas"
        ) from None


def _callbacks(value: object) -> object:
    """Read every notation of `OPAL_DEFAULT_UPDATE_CALLBACKS`."""
    if isinstance(value, str):
        structured = value.lstrip().startswith(("{", "[", "("))
        value = _literal(value) if structured else [url.strip() for url in value.split(",") if url.strip()]
    if isinstance(value, UpdateCallback):
        return value
    if isinstance(value, list | tuple):
        value = {"callbacks": _targets(list(cast("list[object]", value)))}
    try:
        return msgspec.convert(value, UpdateCallback)
    except msgspec.ValidationError as err:
        raise ValueError(f"should list URLs and [URL, config] pairs: {err}") from None


def _targets(value: list[object]) -> list[object]:
    """Take `("url", {...})`, one pair without the list around it, for a list of that one pair."""
    match value:
        case [str(), dict()]:
            return [value]
        case _:
            return value


def _callback_config(value: object) -> object:
    if isinstance(value, str):
        value = _literal_object(value)
    return {**_CALLBACK_CONFIG, **cast("dict[str, Any]", value)} if isinstance(value, dict) else value


def _literal_object(text: str) -> object:
    try:
        return _literal(text)
    except ValueError:
        raise ValueError('should be a JSON object, such as {"method": "post", "headers": {}}') from None


class ConnRetryOptions(BaseModel):
    """How to retry, with the peer's names and defaults: what a JSON value leaves out is taken from here.

    Every wait is cut by up to a half at random, so that many agents spread out.

    Attributes:
        wait_strategy: the same wait each time ("fixed"), or twice as long each time (both others).
        wait_time: the wait, or the first of them.
        attempts: tries in all.
        max_wait: no wait is longer; None for no limit.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    wait_strategy: Literal["fixed", "exponential", "random_exponential"] = "fixed"
    wait_time: Annotated[Seconds, Field(ge=_NONE)] = timedelta(seconds=2)
    attempts: Annotated[int, Field(ge=1)] = 2
    max_wait: Annotated[Seconds, Field(ge=_NONE)] | None = None

    @property
    def longest_wait(self) -> timedelta:
        """No wait between two tries is longer than this; a minute where nothing else is said."""
        if self.wait_strategy == "fixed":
            return self.wait_time
        return self.max_wait if self.max_wait is not None else _MINUTE


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
        ge=_NONE,
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
        description="Fetches side by side: enough that sources which hang do not keep the others waiting.",
        ge=1,
        le=65_536,
    )
    fetching_callback_timeout: Seconds = Field(
        default=timedelta(seconds=10),
        validation_alias="OPAL_FETCHING_CALLBACK_TIMEOUT",
        description="Deadline for all fetches of a live update, retries included, in seconds.",
        gt=_NONE,
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
        gt=_NONE,
    )

    # ----------------------------------------------------------------------------------------------- writing
    commit_deadline: Seconds = Field(
        default=timedelta(seconds=5),
        validation_alias="OPAL_COMMIT_TIMEOUT",
        description="Deadline of one commit into the policy store, in seconds; then the store counts as down.",
        gt=_NONE,
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
        gt=_NONE,
    )
    probe_timeout: Seconds = Field(
        default=timedelta(seconds=3),
        validation_alias="OPAL_POLICY_STORE_LIVENESS_PROBE_TIMEOUT_SECONDS",
        description="How long to wait for the policy store's answer to that, in seconds; more than 5 counts as 5. A "
        "store that hangs is found after interval and timeout.",
        gt=_NONE,
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
    default_update_callbacks: Annotated[UpdateCallback, BeforeValidator(_callbacks), Masked()] = Field(
        default=UpdateCallback(),
        validation_alias="OPAL_DEFAULT_UPDATE_CALLBACKS",
        description='Who gets every report: {"callbacks": [...]} or [...] with URLs and [URL, config] pairs inside, '
        "or URLs separated by commas.",
    )
    default_update_callback_config: Annotated[Mapping[str, Any], BeforeValidator(_callback_config), Masked()] = Field(
        default=_CALLBACK_CONFIG,
        validation_alias="OPAL_DEFAULT_UPDATE_CALLBACK_CONFIG",
        description="How reports are sent where a callback has no config of its own, as JSON; what it leaves out "
        "stays as in the default.",
    )
    report_outbox_size: int = Field(
        default=10_000,
        validation_alias="OPAL_REPORT_OUTBOX_SIZE",
        description="Reports waiting for delivery at most; beyond that the oldest is dropped, logged and counted.",
        ge=1,
    )
    report_timeout: Seconds = Field(
        default=timedelta(seconds=10),
        validation_alias="OPAL_REPORT_TIMEOUT",
        description="Deadline of one delivery of a report, in seconds.",
        gt=_NONE,
    )
