"""For stores whose engine keeps a set of facts: relationship tuples, role assignments, entities.

A path owns a set of facts, the engine holds the union of these sets, and what is written is the difference. All of that
is the same for every such engine and is done here; a store says how a document is read (`parse`), how one call writes
(`write_facts`), and how everything is read (`read_facts`). docs/decisions/0011 says why it is so.

- `fact_set_store`: `FactSetStore`, what a plugin subclasses.
- `parsing`: `facts_of`, the short way to `parse`.
- `ledger`: which path owns what.
- `engine_facts`: what the engine should hold of each fact, and where it is not known to.
- `difference`: what the engine must be told, cut to calls that it takes.
- `survey`: what the engine held before.

Here: what is so for every set of facts. Not here: the API of one engine, and documents.
"""

from __future__ import annotations

from cabochon.kit.facts.difference import Call
from cabochon.kit.facts.engine_facts import Facts
from cabochon.kit.facts.fact_set_store import FactSetStore, Prune
from cabochon.kit.facts.ledger import UNOWNED
from cabochon.kit.facts.parsing import facts_of

__all__ = ["UNOWNED", "Call", "FactSetStore", "Facts", "Prune", "facts_of"]
