"""Keep policy engines in sync, every engine a plugin.

What plugin authors need is here; the wire models are in `cabochon.schemas`, the contract kits in `cabochon.testing`.
Names are imported when they are first used, so that importing `cabochon` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cabochon.backbone import (
        Backbone,
        BackboneType,
        Bounds,
        LogRecord,
        NewRecord,
        Retention,
    )
    from cabochon.callback_reporter import (
        Callback,
        CallbackReporter,
        CallbackReporterType,
    )
    from cabochon.document_path import (
        ROOT,
        DocumentPath,
    )
    from cabochon.errors import (
        BackboneError,
        CabochonError,
        ConfigurationError,
        DocumentPathError,
        FetchDecodeError,
        FetchError,
        FetchStatusError,
        FetchTimeoutError,
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
    from cabochon.fetcher import (
        Fetcher,
        FetcherType,
    )
    from cabochon.hookspecs import (
        hookimpl,
    )
    from cabochon.metrics import (
        Metrics,
    )
    from cabochon.plugins import (
        InstalledPlugin,
        Plugins,
        Registered,
    )
    from cabochon.policy_store import (
        STATE,
        Applied,
        Blame,
        Change,
        Changes,
        CommitResult,
        DeleteData,
        DeletePolicy,
        Guard,
        Marker,
        Outcome,
        PatchData,
        PatchOperation,
        PolicyProblem,
        PolicyStore,
        PolicyStoreType,
        Refused,
        ReplacePolicies,
        SetData,
        SetPolicy,
        StoreTraits,
        SupportsExport,
        SupportsJsonPatch,
        SupportsMarker,
        SupportsOwnership,
        SupportsReadBack,
        SupportsRestartToken,
        SupportsValidation,
        Unknown,
        Write,
    )
    from cabochon.service import (
        AgentContext,
        AsgiApp,
        CommandType,
        HostedRoutes,
        HttpRoutesType,
        ServiceType,
    )
    from cabochon.settings import (
        CommaList,
        Masked,
        Seconds,
        Settings,
        load_settings,
    )
    from cabochon.transaction_listener import (
        TransactionListener,
        TransactionListenerType,
    )
    from cabochon.update_source import (
        Connected,
        DataUpdateReceived,
        Disconnected,
        PolicyChanged,
        SourceEvent,
        UpdateSource,
        UpdateSourceType,
    )

__version__ = "0.1.0"

__all__ = [
    "ROOT",
    "STATE",
    "AgentContext",
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
    "Change",
    "Changes",
    "CommaList",
    "CommandType",
    "CommitResult",
    "ConfigurationError",
    "Connected",
    "DataUpdateReceived",
    "DeleteData",
    "DeletePolicy",
    "Disconnected",
    "DocumentPath",
    "DocumentPathError",
    "FetchDecodeError",
    "FetchError",
    "FetchStatusError",
    "FetchTimeoutError",
    "Fetcher",
    "FetcherType",
    "Guard",
    "HostedRoutes",
    "HttpRoutesType",
    "InstalledPlugin",
    "LogRecord",
    "LogReplacedError",
    "LogTrimmedError",
    "Marker",
    "Masked",
    "Metrics",
    "NewRecord",
    "Outcome",
    "PatchData",
    "PatchFailedError",
    "PatchOperation",
    "PathConflictError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "Plugins",
    "PolicyChanged",
    "PolicyProblem",
    "PolicyStore",
    "PolicyStoreError",
    "PolicyStoreType",
    "Refused",
    "Registered",
    "ReplacePolicies",
    "ReportError",
    "Retention",
    "Seconds",
    "ServiceType",
    "SetData",
    "SetPolicy",
    "Settings",
    "SourceError",
    "SourceEvent",
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
    "TransactionError",
    "TransactionListener",
    "TransactionListenerType",
    "Unknown",
    "UnsupportedOperationError",
    "UpdateSource",
    "UpdateSourceType",
    "Write",
    "__version__",
    "hookimpl",
    "load_settings",
]

_HOMES = {
    "backbone": ("Backbone", "BackboneType", "Bounds", "LogRecord", "NewRecord", "Retention"),
    "callback_reporter": ("Callback", "CallbackReporter", "CallbackReporterType"),
    "document_path": ("DocumentPath", "ROOT"),
    "errors": (
        "BackboneError",
        "CabochonError",
        "ConfigurationError",
        "DocumentPathError",
        "FetchDecodeError",
        "FetchError",
        "FetchStatusError",
        "FetchTimeoutError",
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
    "fetcher": ("Fetcher", "FetcherType"),
    "hookspecs": ("hookimpl",),
    "metrics": ("Metrics",),
    "plugins": ("InstalledPlugin", "Plugins", "Registered"),
    "policy_store": (
        "Applied",
        "Blame",
        "Change",
        "Changes",
        "CommitResult",
        "DeleteData",
        "DeletePolicy",
        "Guard",
        "Marker",
        "Outcome",
        "PatchData",
        "PatchOperation",
        "PolicyProblem",
        "PolicyStore",
        "PolicyStoreType",
        "Refused",
        "ReplacePolicies",
        "STATE",
        "SetData",
        "SetPolicy",
        "StoreTraits",
        "SupportsExport",
        "SupportsJsonPatch",
        "SupportsMarker",
        "SupportsOwnership",
        "SupportsReadBack",
        "SupportsRestartToken",
        "SupportsValidation",
        "Unknown",
        "Write",
    ),
    "service": ("AgentContext", "AsgiApp", "CommandType", "HostedRoutes", "HttpRoutesType", "ServiceType"),
    "settings": ("CommaList", "Masked", "Seconds", "Settings", "load_settings"),
    "transaction_listener": ("TransactionListener", "TransactionListenerType"),
    "update_source": (
        "Connected",
        "DataUpdateReceived",
        "Disconnected",
        "PolicyChanged",
        "SourceEvent",
        "UpdateSource",
        "UpdateSourceType",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


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
