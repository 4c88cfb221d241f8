"""The wire models: exact names and defaults of the peer, unknown members ignored.

They are msgspec structs: a frame is parsed once, in under a microsecond, and the documents inside it stay raw JSON, so
that no number passes through a float on its way to the engine (docs/decisions/0002).

Here: what stands on the wire, to the letter.
Not here: what we make of a message, and our own additions that the peer would not ignore.
"""

from cabochon.schemas.callbacks import (
    CallbackEntry,
    FetcherConfig,
    HttpFetcherConfig,
    HttpMethod,
    UpdateCallback,
    callback_fault,
)
from cabochon.schemas.data_update import (
    DEFAULT_DATA_TOPIC,
    DataSourceConfig,
    DataSourceEntry,
    DataSourceEntryWithPollingInterval,
    DataUpdate,
    SaveMethod,
    ServerDataSourceConfig,
)
from cabochon.schemas.policy_bundle import (
    DataModule,
    DeletedFiles,
    PolicyBundle,
    PolicyUpdateMessage,
    PolicyUpdateMessageNotification,
    RegoModule,
)
from cabochon.schemas.report import DataEntryReport, DataUpdateReport
from cabochon.schemas.transaction import JSONPatchAction, RemoteStatus, StoreTransaction, TransactionType

__all__ = [
    "DEFAULT_DATA_TOPIC",
    "CallbackEntry",
    "DataEntryReport",
    "DataModule",
    "DataSourceConfig",
    "DataSourceEntry",
    "DataSourceEntryWithPollingInterval",
    "DataUpdate",
    "DataUpdateReport",
    "DeletedFiles",
    "FetcherConfig",
    "HttpFetcherConfig",
    "HttpMethod",
    "JSONPatchAction",
    "PolicyBundle",
    "PolicyUpdateMessage",
    "PolicyUpdateMessageNotification",
    "RegoModule",
    "RemoteStatus",
    "SaveMethod",
    "ServerDataSourceConfig",
    "StoreTransaction",
    "TransactionType",
    "UpdateCallback",
    "callback_fault",
]
