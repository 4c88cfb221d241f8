"""A plugin that needs what is not installed."""

import cabochon_test_dependency_that_is_missing  # type: ignore[import-not-found]  # noqa: F401
