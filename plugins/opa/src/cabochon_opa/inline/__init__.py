"""OPA as a child process of the agent."""
