"""For authors of plugins: contract kits to subclass, and a scripted HTTP server.

Each kit is a class of pytest tests in a module of its own, so that what needs no pytest can be used without it. A kit
needs the extra `cabochon[testing]`.

Here: promises that any plugin of a kind must keep, and what it takes to try them.
Not here: tests of the core itself.
"""

from __future__ import annotations

import sys
from pkgutil import iter_modules

if "pytest" in sys.modules:
    # Before a kit is imported, so that its failing asserts show their values.
    sys.modules["pytest"].register_assert_rewrite(*(f"{__name__}.{kit.name}" for kit in iter_modules(__path__)))
