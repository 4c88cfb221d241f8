"""What of a change that does not apply is left in the desired state: nothing."""

from __future__ import annotations

import pytest

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import DocumentPath
from cabochon.errors import PatchFailedError
from cabochon.sync.desired.journal import ChangeJournal
from cabochon.sync.desired.state import DesiredState
from cabochon.transactions.changes import PatchData, SetData

A, X = DocumentPath.parse("/a"), DocumentPath.parse("/a/x")


def test_patch_that_fails_half_way_leaves_nothing() -> None:
    """
    What came before it since the last commit stays as it was, to be settled or taken back.
    """
    journal = ChangeJournal()
    desired = DesiredState(journal=journal)
    desired.apply(SetData(X, b"1"))
    mark = desired.mark
    below = DocumentPath(("x",))
    patch = PatchData(A, (PatchOperation("replace", below, b"2"), PatchOperation("test", below, b"2")))
    with pytest.raises(PatchFailedError):
        desired.apply(patch)
    desired.rollback(mark)
    desired.settle()

    assert (b"1", [X]) == (desired.read(X), list(journal.take()))
