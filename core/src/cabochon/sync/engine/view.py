"""What the agent knows of its engine, in parts that each have one writer."""

from __future__ import annotations

from dataclasses import dataclass

from cabochon.contract.policy_store import PolicyStore
from cabochon.sync.desired.put_off import PutOff
from cabochon.sync.desired.state import DesiredState
from cabochon.sync.engine.life import EngineLife
from cabochon.sync.engine.log_keeper import LogKeeper
from cabochon.sync.engine.questions import EngineQuestions
from cabochon.transactions.log import TransactionLog

__all__ = ["EngineView"]


@dataclass(frozen=True, slots=True)
class EngineView:
    """All of it belongs to the data lane: its parts change from the committer's task alone.

    Attributes:
        store: the open store.
        ask: what the store can be asked.
        life: the marker that the engine should show.
        desired: what data the engine should hold. The policies that it should hold are the `PolicyWriter`'s.
        put_off: what of that is to be written when the engine is back.
        log: the transaction log.
    """

    store: PolicyStore
    ask: EngineQuestions
    life: EngineLife
    desired: DesiredState
    put_off: PutOff
    log: LogKeeper

    @classmethod
    def of(cls, store: PolicyStore, log: TransactionLog) -> EngineView:
        """Return what is known of an engine that has not been asked anything yet."""
        ask = EngineQuestions(store)
        desired = DesiredState(owned_facts=store.traits.data_unit == "facts")
        return cls(store, ask, EngineLife(ask), desired, PutOff(desired), LogKeeper(desired, log))
