"""Keep policy engines in sync, every engine a plugin.

What plugin authors need is here; the wire models are in `cabochon.schemas`, the contract kits in `cabochon.testing`.
Names are imported when they are first used, so that importing `cabochon` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cabochon.contract.agent_context import AgentContext, AsgiApp, HostedRoutes
    from cabochon.contract.agent_parts import Callbacks, OpenTransaction, PolicyStoreWrites, SourceSwitch, TraceFeed
    from cabochon.contract.backbone import Backbone, BackboneType, Bounds, LogRecord, NewRecord, Retention
    from cabochon.contract.callback_reporter import Callback, CallbackReporter, CallbackReporterType
    from cabochon.contract.command import CommandType
    from cabochon.contract.fetcher import Fetcher, FetcherType
    from cabochon.contract.hookspecs import hookimpl
    from cabochon.contract.http_routes import HttpRoutesType
    from cabochon.contract.metrics import Durations, Metrics
    from cabochon.contract.policy_store import PolicyStore, PolicyStoreType, StoreTraits
    from cabochon.contract.powers import (
        PolicyProblem,
        SupportsExport,
        SupportsJsonPatch,
        SupportsMarker,
        SupportsOwnership,
        SupportsReadBack,
        SupportsRestartToken,
        SupportsValidation,
    )
    from cabochon.contract.service import ServiceType
    from cabochon.contract.tracing import EntryTrace, Period, PolicyTrace, ReportTrace, Tracer, UpdateTrace
    from cabochon.contract.transaction_listener import TransactionListener, TransactionListenerType
    from cabochon.contract.update_source import (
        Connected,
        DataUpdateReceived,
        Disconnected,
        PolicyChanged,
        SourceEvent,
        UpdateSource,
        UpdateSourceType,
    )
    from cabochon.documents.json_patch import PatchOperation
    from cabochon.documents.path import ROOT, DocumentPath
    from cabochon.errors import (
        AnswerLostError,
        BackboneError,
        CabochonError,
        ConfigurationError,
        DocumentPathError,
        FetchDecodeError,
        FetchError,
        FetchStatusError,
        FetchTimeoutError,
        HeldOtherwiseError,
        LogReplacedError,
        LogTrimmedError,
        PatchFailedError,
        PathConflictError,
        PluginConflictError,
        PluginError,
        PluginLoadError,
        PluginNotFoundError,
        PolicyStoreError,
        ReportError,
        SourceError,
        StateLostError,
        StoreRejectedError,
        StoreUnavailableError,
        TransactionError,
        UnsupportedOperationError,
    )
    from cabochon.plugins.installed import InstalledPlugin, PluginOffer, Plugins
    from cabochon.settings.core import CommaList, Masked, Seconds, Settings, load_settings
    from cabochon.transactions.changes import (
        Change,
        Changes,
        DataChange,
        DeleteData,
        DeletePolicy,
        Guard,
        Marker,
        PatchData,
        PolicyChange,
        ReplacePolicies,
        SetData,
        SetPolicy,
        Write,
        policies_after,
    )
    from cabochon.transactions.commit_result import STATE, Applied, Blame, CommitResult, Outcome, Refused, Unknown
    from cabochon.transactions.log import Half, TransactionLog
    from cabochon.transactions.records import FailedPath, InitialSource, OutOfSync, TransactionRecord

__version__ = "0.1.0"

__all__ = [
    "ROOT",
    "STATE",
    "AgentContext",
    "AnswerLostError",
    "Applied",
    "AsgiApp",
    "Backbone",
    "BackboneError",
    "BackboneType",
    "Blame",
    "Bounds",
    "CabochonError",
    "Callback",
    "CallbackReporter",
    "CallbackReporterType",
    "Callbacks",
    "Change",
    "Changes",
    "CommaList",
    "CommandType",
    "CommitResult",
    "ConfigurationError",
    "Connected",
    "DataChange",
    "DataUpdateReceived",
    "DeleteData",
    "DeletePolicy",
    "Disconnected",
    "DocumentPath",
    "DocumentPathError",
    "Durations",
    "EntryTrace",
    "FailedPath",
    "FetchDecodeError",
    "FetchError",
    "FetchStatusError",
    "FetchTimeoutError",
    "Fetcher",
    "FetcherType",
    "Guard",
    "Half",
    "HeldOtherwiseError",
    "HostedRoutes",
    "HttpRoutesType",
    "InitialSource",
    "InstalledPlugin",
    "LogRecord",
    "LogReplacedError",
    "LogTrimmedError",
    "Marker",
    "Masked",
    "Metrics",
    "NewRecord",
    "OpenTransaction",
    "OutOfSync",
    "Outcome",
    "PatchData",
    "PatchFailedError",
    "PatchOperation",
    "PathConflictError",
    "Period",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "PluginOffer",
    "Plugins",
    "PolicyChange",
    "PolicyChanged",
    "PolicyProblem",
    "PolicyStore",
    "PolicyStoreError",
    "PolicyStoreType",
    "PolicyStoreWrites",
    "PolicyTrace",
    "Refused",
    "ReplacePolicies",
    "ReportError",
    "ReportTrace",
    "Retention",
    "Seconds",
    "ServiceType",
    "SetData",
    "SetPolicy",
    "Settings",
    "SourceError",
    "SourceEvent",
    "SourceSwitch",
    "StateLostError",
    "StoreRejectedError",
    "StoreTraits",
    "StoreUnavailableError",
    "SupportsExport",
    "SupportsJsonPatch",
    "SupportsMarker",
    "SupportsOwnership",
    "SupportsReadBack",
    "SupportsRestartToken",
    "SupportsValidation",
    "TraceFeed",
    "Tracer",
    "TransactionError",
    "TransactionListener",
    "TransactionListenerType",
    "TransactionLog",
    "TransactionRecord",
    "Unknown",
    "UnsupportedOperationError",
    "UpdateSource",
    "UpdateSourceType",
    "UpdateTrace",
    "Write",
    "__version__",
    "hookimpl",
    "load_settings",
    "policies_after",
]

_HOMES = {
    "contract.agent_context": ("AgentContext", "AsgiApp", "HostedRoutes"),
    "contract.agent_parts": ("Callbacks", "OpenTransaction", "PolicyStoreWrites", "SourceSwitch", "TraceFeed"),
    "contract.backbone": ("Backbone", "BackboneType", "Bounds", "LogRecord", "NewRecord", "Retention"),
    "contract.callback_reporter": ("Callback", "CallbackReporter", "CallbackReporterType"),
    "contract.command": ("CommandType",),
    "contract.fetcher": ("Fetcher", "FetcherType"),
    "contract.hookspecs": ("hookimpl",),
    "contract.http_routes": ("HttpRoutesType",),
    "contract.metrics": ("Durations", "Metrics"),
    "contract.policy_store": ("PolicyStore", "PolicyStoreType", "StoreTraits"),
    "contract.powers": (
        "PolicyProblem",
        "SupportsExport",
        "SupportsJsonPatch",
        "SupportsMarker",
        "SupportsOwnership",
        "SupportsReadBack",
        "SupportsRestartToken",
        "SupportsValidation",
    ),
    "contract.service": ("ServiceType",),
    "contract.tracing": ("EntryTrace", "Period", "PolicyTrace", "ReportTrace", "Tracer", "UpdateTrace"),
    "contract.transaction_listener": ("TransactionListener", "TransactionListenerType"),
    "contract.update_source": (
        "Connected",
        "DataUpdateReceived",
        "Disconnected",
        "PolicyChanged",
        "SourceEvent",
        "UpdateSource",
        "UpdateSourceType",
    ),
    "documents.json_patch": ("PatchOperation",),
    "documents.path": ("ROOT", "DocumentPath"),
    "errors": (
        "AnswerLostError",
        "BackboneError",
        "CabochonError",
        "ConfigurationError",
        "DocumentPathError",
        "FetchDecodeError",
        "FetchError",
        "FetchStatusError",
        "FetchTimeoutError",
        "HeldOtherwiseError",
        "LogReplacedError",
        "LogTrimmedError",
        "PatchFailedError",
        "PathConflictError",
        "PluginConflictError",
        "PluginError",
        "PluginLoadError",
        "PluginNotFoundError",
        "PolicyStoreError",
        "ReportError",
        "SourceError",
        "StateLostError",
        "StoreRejectedError",
        "StoreUnavailableError",
        "TransactionError",
        "UnsupportedOperationError",
    ),
    "plugins.installed": ("InstalledPlugin", "PluginOffer", "Plugins"),
    "settings.core": ("CommaList", "Masked", "Seconds", "Settings", "load_settings"),
    "transactions.changes": (
        "Change",
        "Changes",
        "DataChange",
        "DeleteData",
        "DeletePolicy",
        "Guard",
        "Marker",
        "PatchData",
        "PolicyChange",
        "ReplacePolicies",
        "SetData",
        "SetPolicy",
        "Write",
        "policies_after",
    ),
    "transactions.commit_result": ("STATE", "Applied", "Blame", "CommitResult", "Outcome", "Refused", "Unknown"),
    "transactions.log": ("Half", "TransactionLog"),
    "transactions.records": ("FailedPath", "InitialSource", "OutOfSync", "TransactionRecord"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:
    # Hidden from type checkers, which would take every mistyped name for one that this may give.
    def __getattr__(name: str) -> object:
        """Import a public name from its module (PEP 562)."""
        module = _HOME_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
