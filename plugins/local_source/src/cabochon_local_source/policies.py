"""Policies of a folder as a bundle: the peer's shape, with a hash over the content in place of a commit's."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from cabochon.schemas import DataModule, PolicyBundle, RegoModule

__all__ = ["read_bundle"]

_PACKAGE = re.compile(r"^\s*package\s+([^\s#;]+)", re.MULTILINE)
_DATA_FILE = "data.json"


def read_bundle(folder: Path) -> PolicyBundle:
    """Read every file below `folder`; `data.json` is data for its folder, everything else is a policy.

    Hidden files and folders are left out. Files are listed by path, so equal folders give equal hashes.

    Raises:
        OSError: a file can't be read.
        UnicodeDecodeError: a file is no text.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))
    digest = hashlib.sha256()
    data: list[DataModule] = []
    policies: list[RegoModule] = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        text = file.read_text("utf-8")
        digest.update(f"{name}\0{len(text)}\0{text}".encode())
        if file.name == _DATA_FILE:
            data.append(DataModule(path=file.parent.relative_to(folder).as_posix(), data=text))
        else:
            package = _PACKAGE.search(text)
            policies.append(RegoModule(path=name, package_name=package[1] if package else "", rego=text))
    return PolicyBundle(
        manifest=tuple(file.relative_to(folder).as_posix() for file in files),
        hash=digest.hexdigest(),
        data_modules=tuple(data),
        policy_modules=tuple(policies),
    )


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
