"""The data lane's way to the engine, shared by those who commit and those who recover."""

from __future__ import annotations

from dataclasses import dataclass

from cabochon.change_compiler import ChangeCompiler
from cabochon.engine_sender import EngineSender
from cabochon.engine_view import EngineView
from cabochon.listener_panel import ListenerPanel

__all__ = ["EngineAccess"]


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """What is known of the engine, who adds to commits, who makes changes, and who sends them."""

    view: EngineView
    panel: ListenerPanel
    compiler: ChangeCompiler
    sender: EngineSender
