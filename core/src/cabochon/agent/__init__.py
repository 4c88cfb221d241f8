"""One agent: plugins opened, services run, a sync inside."""

from cabochon.agent.agent import Agent
from cabochon.agent.opening import open_agent

__all__ = ["Agent", "open_agent"]
