"""What an operator can set for the healthcheck policy: the peer's variables with the peer's defaults, and ours."""

from __future__ import annotations

from pydantic import Field

from cabochon import Settings

__all__ = ["HealthSettings"]


class HealthSettings(Settings):
    """Whether OPA shows the agent's state, and by which policy."""

    enabled: bool = Field(
        default=False,
        validation_alias="OPAL_OPA_HEALTH_CHECK_POLICY_ENABLED",
        description="Keep the healthcheck policy in OPA: ready, healthy and the rest at /v1/data/system/opal.",
    )
    template_path: str | None = Field(
        default=None,
        validation_alias="OPAL_OPA_HEALTH_CHECK_POLICY_PATH",
        description="A jinja2 template of your own for the healthcheck policy, in place of ours.",
    )
    require_agent_alive: bool = Field(
        default=False,
        validation_alias="OPAL_OPA_HEALTH_CHECK_REQUIRE_AGENT_ALIVE",
        description="An OPA whose agent has not been heard of for 30 seconds is not healthy, and /health/live answers"
        " 500. For OPA and agent in one container: elsewhere a liveness probe would restart OPA, empty, for the"
        " agent's sake.",
    )
    probes_enabled: bool = Field(
        default=True,
        validation_alias="OPAL_OPA_HEALTH_CHECK_PROBES_ENABLED",
        description="With the healthcheck policy, also keep the package system.health in OPA, behind its /health/ready"
        " and /health/live; false where policies of yours have that package.",
    )
    transaction_log_path: str = Field(
        default="system/opal/transactions",
        validation_alias="OPAL_OPA_HEALTH_CHECK_TRANSACTION_LOG_PATH",
        description="Taken and not used, here as in OPAL: no transactions are kept in OPA beyond the last ones, which"
        " /v1/data/system/opal shows.",
    )
