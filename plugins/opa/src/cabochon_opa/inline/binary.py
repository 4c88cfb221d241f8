"""Which `opa` to run, and what it is."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import anyio

from cabochon.errors import ConfigurationError

__all__ = ["find_opa", "opa_version"]

_WAY_OUT = (
    "get OPA from https://www.openpolicyagent.org/docs/latest/#running-opa or with"
    " `go install github.com/open-policy-agent/opa@latest` and set OPAL_INLINE_OPA_EXEC_PATH if it is not on PATH,"
    " or set OPAL_INLINE_OPA_ENABLED=False to use an OPA that runs elsewhere"
)
_VERSION_TIMEOUT_S = 10.0


def find_opa(exec_path: str | None = None) -> Path:
    """Return the executable: the one that `OPAL_INLINE_OPA_EXEC_PATH` names, else the one on PATH.

    Args:
        exec_path: that setting; a name without a slash is looked for on PATH.

    Raises:
        ConfigurationError: there is none; the one line says how to get it.
    """
    if exec_path is None:
        found = shutil.which("opa")
        if found is None:
            raise ConfigurationError(f"inline OPA needs the opa executable, and there is none on PATH: {_WAY_OUT}")
        return Path(found)
    wanted = str(Path(exec_path).expanduser()) if "/" in exec_path else exec_path
    found = shutil.which(wanted)
    if found is None:
        reason = "can't be executed" if os.path.isfile(wanted) else "does not exist"  # noqa: PTH113 - may be a bare name
        raise ConfigurationError(f"OPAL_INLINE_OPA_EXEC_PATH={exec_path!r} {reason}: {_WAY_OUT}")
    return Path(found)


async def opa_version(binary: Path) -> tuple[int, ...]:
    """Ask a binary for its version, such as `(1, 22, 2)`.

    Raises:
        ConfigurationError: it does not say; it is no OPA.
    """
    said = b""
    reason = "does not answer `opa version`"
    try:
        with anyio.move_on_after(_VERSION_TIMEOUT_S):
            said = (await anyio.run_process([str(binary), "version"], check=False)).stdout
    except OSError as err:
        reason = f"can't be executed ({err.strerror})"
    found = re.search(rb"(?m)^Version: v?(\d+(?:\.\d+)*)", said)
    if found is None:
        raise ConfigurationError(f"OPAL_INLINE_OPA_EXEC_PATH={str(binary)!r} {reason}: {_WAY_OUT}")
    return tuple(map(int, found[1].split(b".")))
