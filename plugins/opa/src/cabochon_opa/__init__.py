"""Open Policy Agent as a policy store: REST storage, bundle delivery, the healthcheck policy, inline OPA."""

__version__ = "0.1.0"
