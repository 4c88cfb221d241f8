"""The healthcheck policy: `data.system.opal`, and the rules behind OPA's own /health/ready and /health/live."""
