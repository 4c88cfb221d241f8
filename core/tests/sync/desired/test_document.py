"""A document with its edits is one document, whatever the edits are."""

from cabochon import DocumentPath, PatchData
from cabochon.documents import json_patch, json_values
from cabochon.sync.desired.document import fold_edits


def test_edit_that_nests_a_document_too_deeply_to_be_written_is_left_out() -> None:
    """
    The others are in the document, and what is wrong is said.
    """
    base = b'{"a": ' + b"[" * 120 + b"]" * 120 + b"}"
    deeper = json_patch.parse(b'[{"op": "copy", "from": "/a", "path": "/a' + b"/0" * 100 + b'/-"}]')
    edits = [PatchData(DocumentPath(), deeper)] * 12 + [
        PatchData(DocumentPath(), json_patch.parse(b'[{"op": "add", "path": "/last", "value": 1}]'))
    ]
    folded = fold_edits(edits, base)

    assert folded.value is not None
    assert folded.value.endswith(b'"last":1}')
    json_values.check(folded.value)
    assert {"nested too deeply"} == set(folded.failed)
