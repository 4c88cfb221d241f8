"""What all tests share: how long hypothesis searches, that it tries the same in every run, and that Ctrl-C counts."""

from __future__ import annotations

import os
import signal
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

# A shell that starts tests in the background has them ignore Ctrl-C, and with them the programs that they try it on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
