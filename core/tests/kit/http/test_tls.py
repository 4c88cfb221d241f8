"""Files that others name are read only where reading ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cabochon.errors import ConfigurationError
from cabochon.kit.http.tls import client_context


@pytest.mark.timeout(5)
@pytest.mark.parametrize("name", ["ca_file", "client_cert"])
def test_pipe_is_refused_and_not_read(tmp_path: Path, name: str) -> None:
    """
    A thread that reads it would wait for ever, and hold up the end of the process.
    """
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError, match=rf"{name} .* is no regular file"):
        client_context(ca_file=str(pipe) if name == "ca_file" else None, client_cert=str(pipe))


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """
    As before.
    """
    with pytest.raises(ConfigurationError, match="holds no certificate"):
        client_context(ca_file=str(tmp_path / "none"))
