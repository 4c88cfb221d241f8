"""What there is to reach one engine with."""

from __future__ import annotations

from dataclasses import dataclass

from cabochon.sync.desired.compiler import ChangeCompiler
from cabochon.sync.engine.contact import Contact
from cabochon.sync.engine.earlier_life import EarlierLife
from cabochon.sync.engine.listeners import ListenerPanel
from cabochon.sync.engine.sender import EngineSender
from cabochon.sync.engine.value_writer import ValueWriter
from cabochon.sync.engine.view import EngineView

__all__ = ["EngineAccess"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAccess:
    """All of it belongs to the committer's task.

    Attributes:
        view: what is known of the engine.
        contact: whether it answers.
        panel: who adds to commits.
        compiler: who makes changes of entries.
        sender: who sends commits.
        values: who writes beside the queue.
        earlier: what an earlier life left over.
    """

    view: EngineView
    contact: Contact
    panel: ListenerPanel
    compiler: ChangeCompiler
    sender: EngineSender
    values: ValueWriter
    earlier: EarlierLife
