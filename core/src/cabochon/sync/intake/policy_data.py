"""The data files of policy bundles: which writes they make, where they stand, and which of them are no JSON."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from cabochon.documents import json_values
from cabochon.documents.json_values import JsonError
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError
from cabochon.schemas import PolicyBundle
from cabochon.sync.desired.policies import DesiredPolicies
from cabochon.sync.rules.update import Entry

__all__ = ["PolicyDataFiles"]

log = structlog.get_logger()


class PolicyDataFiles:
    """Says where the data files of the policies are written; nobody else does while the agent runs."""

    def __init__(self, desired: DesiredPolicies) -> None:
        self._desired = desired
        self._malformed: dict[DocumentPath, str] = {}

    @property
    def malformed(self) -> Mapping[DocumentPath, str]:
        """Where a data file is no JSON, and why: what was there before stays, and is out of sync."""
        return dict(self._malformed)

    def entries(self, bundle: PolicyBundle) -> list[Entry]:
        """Return the data files of a bundle as writes; a full bundle also removes those of earlier ones that it lacks.

        A file that is no JSON is left out, as OPAL does.
        """
        if bundle.old_hash is None:
            self._malformed.clear()
        entries, written = self._files(bundle)
        paths = self._desired.data_paths
        if bundle.old_hash is None:
            gone = paths - written
            self._desired.data_paths = frozenset(written)
        else:
            deleted = bundle.deleted_files.data_modules if bundle.deleted_files is not None else ()
            # What is no path was never written.
            gone = {folder for path in deleted if (folder := _folder_if_any(path)) is not None}
            self._desired.data_paths = (paths - gone) | written
            for path in gone:
                self._malformed.pop(path, None)
        return [*(Entry(path, "DELETE").ready(None) for path in sorted(gone)), *entries]

    def _files(self, bundle: PolicyBundle) -> tuple[list[Entry], set[DocumentPath]]:
        """Return the writes, and where a data file stands from now on."""
        entries: list[Entry] = []
        written: set[DocumentPath] = set()
        for module in bundle.data_modules:
            entry = Entry(DocumentPath(), "PUT")
            try:
                entry.path = _folder(module.path)
                entry.ready(json_values.check(module.data.encode()))
                written.add(entry.path)
                self._malformed.pop(entry.path, None)
            except DocumentPathError as err:
                entry.refuse(err)
            except JsonError as err:
                log.warning(
                    "policy_bundle.data_malformed", policy_hash=bundle.hash, path=str(entry.path), error=str(err)
                )
                self._malformed[entry.path] = f"the data file of policies {bundle.hash} is no JSON: {err}"
                written.update(self._desired.data_paths & {entry.path})
                continue
            entries.append(entry)
        return entries, written


def _folder(path: str) -> DocumentPath:
    return DocumentPath.parse("" if path == "." else path)


def _folder_if_any(path: str) -> DocumentPath | None:
    try:
        return _folder(path)
    except DocumentPathError:
        return None
