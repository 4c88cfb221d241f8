"""One agent: plugins opened, services supervised, one sync inside.

Here: from settings and installed plugins to something that runs.
Not here: what the sync does, and arguments of the command line.
"""

from cabochon.agent.agent import Agent
from cabochon.agent.opening import open_agent

__all__ = ["Agent", "open_agent"]
