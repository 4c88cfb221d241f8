"""What all tests share: how long hypothesis searches, and that it tries the same in every run of the same code."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

_COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": list(HealthCheck),
    # Without `Phase.explain`, which traces every line and takes minutes here.
    "phases": [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
}

settings.register_profile("ci", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("deep", max_examples=5_000, **_COMMON)
settings.register_profile(
    "mutants", settings.get_profile("ci"), max_examples=200, phases=[Phase.explicit, Phase.generate], print_blob=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# hypothesis also tries numbers and words that it finds in our modules: in those that happen to be imported by then,
# which is another set for each order of the tests. So a search without chance would still not be the same twice.
providers._get_local_constants = Constants  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
