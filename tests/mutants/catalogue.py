"""The mutants: each breaks one promise on purpose, by replacing a piece of the production code's text.

A piece that is not found exactly once makes the run fail, so no mutant can outlive the code it was made for.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`tests` names those that are expected to notice, by their beginnings; they run first."""

    name: str
    module: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "drop the overlap check",
        "cabochon.sync.rules.scheduler",
        "for older in reversed(lying.values()) if arriving else lying.values():",
        "for older in ():",
        ("test_rule_01",),
    ),
    Mutant(
        "compare paths by string prefix",
        "cabochon.sync.rules.scheduler",
        "for lying in self._waiting.above(entry.path) if overtakes else self._waiting.around(entry.path):",
        "for lying in [{0: o} for o in self._waiting if str(entry.path).startswith(str(o.path))]:",
        ("test_rule_01",),
    ),
    Mutant(
        "let no newer write overtake",
        "cabochon.sync.rules.scheduler",
        "overtakes = entry.replaces and update.kind is not Kind.RETRY",
        "overtakes = False",
        ("test_rule_02",),
    ),
    Mutant(
        "let an older fetch overwrite what overtook it",
        "cabochon.sync.rules.scheduler",
        "if _covered_by(entry, update.entries):",
        "if False:",
        ("test_rule_02",),
    ),
    Mutant(
        "swap the writes of a commit",
        "cabochon.sync.engine.sender",
        "changes = Changes(tuple(writes), tuple(state), guard, desired.claims, desired.releases)",
        "changes = Changes(tuple(writes)[::-1], tuple(state), guard, desired.claims, desired.releases)",
        ("test_rule_07", "test_scenario_with_a_healthy"),
    ),
    Mutant(
        "apply the entries of an update backwards",
        "cabochon.sync.engine.attempt",
        "        for entry in part.entries:\n            if entry.state is not EntryState.READY:",
        "        for entry in reversed(part.entries):\n            if entry.state is not EntryState.READY:",
        ("test_rule_03",),
    ),
    Mutant(
        "commit updates one by one",
        "cabochon.sync.engine.committer",
        "            max_updates=self._options.max_updates,\n",
        "            max_updates=1,\n",
        ("test_rule_04",),
    ),
    Mutant(
        "refuse the whole group with the guilty entry",
        "cabochon.sync.engine.refused_commits",
        "        if halves is not None:\n            return [Group(half) for half in halves]\n"
        "        if attempt.state:",
        "        if halves is None and attempt.state:",
        ("test_rule_04",),
    ),
    Mutant(
        "apply a copy twice",
        "cabochon.sync.rules.duplicates_filter",
        "            return True\n",
        "            return False\n",
        ("test_rule_05",),
    ),
    Mutant(
        "take a resend for a copy",
        "cabochon.sync.rules.duplicates_filter",
        "if seen is not None and topic not in seen:",
        "if seen is not None:",
        ("test_rule_05",),
    ),
    Mutant(
        "let a retry overwrite what is newer",
        "cabochon.sync.outcome.follow_ups",
        "                self._make_moot(self.book.landed(entry.path, update.origin))\n",
        "                pass\n",
        ("test_rule_06",),
    ),
    Mutant(
        "take what failed itself for what replaces",
        "cabochon.sync.rules.retry_book",
        "        return self._given_up(failed)\n",
        "        moot = [old for old in self._failed.covered_by(failed.path) if old is not failed]\n"
        "        self._drop(moot)\n        return moot\n",
        ("test_rule_06",),
    ),
    Mutant(
        "try a failed patch again",
        "cabochon.sync.outcome.follow_ups",
        "return Cause.REFUSED if entry.replaces else Cause.PATCH",
        "return Cause.FETCH",
        ("test_rule_06",),
    ),
    Mutant(
        "read numbers as floats",
        "cabochon.documents.json_values",
        "msgspec.json.Decoder(float_hook=Decimal)",
        "msgspec.json.Decoder()",
        ("test_rule_07",),
    ),
    Mutant(
        "keep a refused write in the desired state",
        "cabochon.sync.engine.attempt",
        "        self.desired.rollback()\n",
        "        self.desired.settle()\n",
        ("test_scenario_with_a_healthy",),
    ),
    Mutant(
        "refuse for good what a write that is refused itself made fail",
        "cabochon.sync.engine.attempt",
        "if self._desired.pending:",
        "if False:",
        ("test_scenario_with_a_fact",),
    ),
    Mutant(
        "forget what came while the engine was down",
        "cabochon.sync.engine.committer",
        "            put_off.add(path, entry.update.origin, replaced=entry.replaces)\n",
        "            pass\n",
        ("test_rule_08",),
    ),
    Mutant(
        "keep what the engine refuses once it is back",
        "cabochon.sync.engine.refill",
        "        if again := self._take_back(refused):\n            refused |= await self._values.documents(again)\n",
        "",
        ("test_rule_08_what_is_refused",),
    ),
    Mutant(
        "do not write again what was before",
        "cabochon.sync.engine.refill",
        "            refused |= await self._values.documents(again)\n",
        "            pass\n",
        ("test_rule_08_what_is_refused",),
    ),
    Mutant(
        "remember the last value put off and not the first",
        "cabochon.sync.desired.put_off",
        "for place, document in around.items() if self.region(place) is None}",
        "for place, document in around.items()}",
        ("test_rule_08_what_is_refused",),
    ),
    Mutant(
        "try no more what was refused after an outage",
        "cabochon.sync.outcome.follow_ups",
        "            self._enter(FailedEntry(entry, cause, entry.update.origin, owner))\n",
        "            del cause, owner\n",
        ("test_rule_08_what_is_refused",),
    ),
    Mutant(
        "give the outage as the reason of a refusal after it",
        "cabochon.sync.engine.refill",
        "            view.log.refused_after_all(top, str(error), number=view.put_off.newest(top))\n",
        "",
        ("test_rule_08_what_is_refused",),
    ),
    Mutant(
        "be ready without a document that is not taken back",
        "cabochon.transactions.log",
        "return self.engine_current and self.served and not (self.not_restored and self._lacks_a_source())",
        "return self.engine_current and self.served",
        ("test_rule_09_a_document", "test_scenario_with_an_engine_that"),
    ),
    Mutant(
        "be in sync without a document that is not taken back",
        "cabochon.sync.engine.refill",
        "        view.desired.not_restored.restored_but(refused)\n",
        "",
        ("test_rule_09_a_document",),
    ),
    Mutant(
        "write into a document that is not there",
        "cabochon.sync.desired.compiler",
        "        if self._desired.not_restored and put_off is None:\n            self._need(entry)\n",
        "",
        ("test_rule_09_a_document",),
    ),
    Mutant(
        "try a document that was not taken back no more",
        "cabochon.sync.engine.committer",
        "        self._policies_changed = True\n",
        "",
        ("test_rule_09_a_document",),
    ),
    Mutant(
        "write data again that landed without a listener's part",
        "cabochon.sync.engine.refused_commits",
        "if attempt.writes and (result.in_doubt or result.data_landed or",
        "if attempt.writes and (result.in_doubt or",
        ("test_rule_04_data",),
    ),
    Mutant(
        "miss the marker that came with the data alone",
        "cabochon.sync.engine.sender",
        "landed = any(type(outcome) is Applied for outcome in (*result.outcomes, result.state))",
        "landed = type(result.state) is Applied",
        ("test_rule_04_data",),
    ),
    Mutant(
        "wait for a commit in silence",
        "cabochon.sync.engine.sender",
        "            if since is not None and",
        "            if not since and since is not None and",
        ("test_rule_09_trouble",),
    ),
    Mutant(
        "wait long for an engine that never answers",
        "cabochon.sync.engine.recovery",
        "with anyio.fail_after(min(self._options.timeout_s, _ASK_TIMEOUT_S)):",
        "with anyio.fail_after(self._options.timeout_s):",
        ("test_rule_09_an_engine_that_is_not_there",),
    ),
    Mutant(
        "trust a deferred write unchecked",
        "cabochon.sync.desired.compiler",
        "        if put_off is not None:\n            await self._check(changes)\n",
        "",
        ("test_rule_08",),
    ),
    Mutant(
        "send a patch twice after a lost answer",
        "cabochon.sync.engine.sender",
        "                if guard is not None and await self._landed_after_all(guard, deadline):\n"
        "                    self._view.life.landed(guard)\n"
        "                    return CommitResult.applied(changes)\n",
        "                if guard is not None:\n"
        "                    found = await self._view.ask.marker()\n"
        "                    changes = Changes(changes.writes, changes.state, Guard(found, guard.leaves))\n",
        ("test_scenario_with_an_engine_in_trouble",),
    ),
    Mutant(
        "forget the guard",
        "cabochon.sync.engine.life",
        "return Guard(self.marker, Marker(self._epoch, self._number))",
        "return Guard(None, Marker(self._epoch, self._number))",
        ("test_rule_09",),
    ),
    Mutant(
        "stay ready while the engine is filled again",
        "cabochon.sync.engine.refill",
        "        view.log.filling()\n",
        "",
        ("test_rule_09",),
    ),
    Mutant(
        "trust the marker of an engine that was filled in part",
        "cabochon.sync.engine.refill",
        "if not intact or self.content is not Content.WHOLE or not view.ask.can_tell:",
        "if not intact or not view.ask.can_tell:",
        ("test_rule_09",),
    ),
    Mutant(
        "take a dropped write for its source's",
        "cabochon.sync.rules.records",
        "        source=None if moot else update.source,\n",
        "        source=update.source,\n",
        ("test_rule_09",),
    ),
    Mutant(
        "look at an idle engine no more",
        "cabochon.sync.engine.committer",
        "        if self._options.probe.enabled and not await self._recovery.probe():\n            return\n",
        "        return\n",
        ("test_rule_09",),
    ),
    Mutant(
        "write the health of before the commit",
        "cabochon.sync.engine.attempt",
        "self._panel.changes(records, following.log) if group",
        "self._panel.changes(records, self._keeper.after((), ended_at).log) if group",
        ("test_scenario_with_a_healthy",),
    ),
    Mutant(
        "load base data when there is time for it",
        "cabochon.sync.intake.source_follower",
        "                    await self._base_data.connected(resumed=resumed)\n",
        "                    self._base_data._tasks.start_soon(lambda: self._base_data.connected(resumed=resumed))\n",
        ("test_rule_10",),
    ),
    Mutant(
        "drop what changes in the log during a commit",
        "cabochon.sync.engine.log_keeper",
        "        del self._changes[: following.changes]\n",
        "        self._changes.clear()\n",
        ("test_rule_10",),
    ),
    Mutant(
        "acknowledge out of order",
        "cabochon.sync.intake.acknowledgements",
        "            while self._open and self._open[0][1]:\n                self._ready = self._open.popleft()[0]\n",
        "            while place in self._open:\n                self._open.remove(place)\n"
        "                self._ready = place[0]\n",
        ("test_rule_10",),
    ),
    Mutant(
        "leave the ghosts of an earlier life",
        "cabochon.sync.engine.earlier_life",
        "gone = [path for path in self.left_over if view.desired.document(path) is None]",
        "gone = list[DocumentPath]()",
        ("test_rule_11",),
    ),
    Mutant(
        "write a difference after a lost answer",
        "cabochon.sync.engine.policy_writer",
        "[ReplacePolicies(wanted, anew)] if whole else changes",
        "changes",
        ("test_rule_12",),
    ),
    Mutant(
        "do not restore the policies",
        "cabochon.sync.engine.refill",
        "        await self._policies.restore()\n",
        "",
        ("test_rule_09",),
    ),
    Mutant(
        "report twice",
        "cabochon.sync.outcome.follow_ups",
        "        self._results = []\n\n    def",
        "        reporting.submit(PendingReport(update_id=self.update_id, results=self._results))\n"
        "        self._results = []\n\n    def",
        ("test_rule_13",),
    ),
    Mutant(
        "send no follow-up",
        "cabochon.sync.outcome.follow_ups",
        "if self._awaited <= 0 and self._later:",
        "if False:",
        ("test_rule_13",),
    ),
    Mutant(
        "stop without the last commit",
        "cabochon.sync.engine.committer",
        "        if self._scheduler.queued:\n"
        "            await (self._put_off_queued() if self._engine.contact.away else self._commit_queued())\n",
        "",
        ("test_rule_14",),
    ),
    Mutant(
        "wait for the last commit without end",
        "cabochon.sync.pipeline",
        "        with anyio.move_on_after(_LAST_COMMIT_S):\n            await committing.wait()\n",
        "        await committing.wait()\n",
        ("test_rule_14",),
    ),
    Mutant(
        "judge health by the last success",
        "cabochon.transactions.log",
        "newest.success and not _has_failed(",
        "True or not _has_failed(",
        ("test_healthy",),
    ),
    Mutant(
        "judge health by the paths that wait alone",
        "cabochon.transactions.log",
        "newest.success and not _has_failed(",
        "not _has_failed(",
        ("test_healthy",),
    ),
    Mutant(
        "let a fact go with the first of its owners",
        "cabochon.kit.facts.engine_facts",
        "        if not more:\n",
        "        if not more or self._more_owners.pop(key):\n",
        ("test_facts",),
    ),
    Mutant(
        "take a call whose answer is lost for one that did not land",
        "cabochon.kit.facts.fact_writer",
        "        except (StoreRejectedError, StoreUnavailableError):\n",
        "        except (StoreRejectedError, StoreUnavailableError, AnswerLostError):\n",
        ("test_facts",),
    ),
    Mutant(
        "go back to the write in doubt when its repetition is refused",
        "cabochon.kit.facts.ledger",
        "self._in_doubt.get(path, self.facts_at(path))",
        "self.facts_at(path)",
        ("test_facts",),
    ),
    Mutant(
        "take what landed in a commit that was given up for heard of",
        "cabochon.kit.facts.fact_writer",
        "        except BaseException:\n            self._unsettle()\n",
        "        except BaseException:\n",
        ("test_facts",),
    ),
    Mutant(
        "leave what a cancelled call wrote and nobody wants",
        "cabochon.kit.facts.fact_writer",
        "            await self._drive_out_ghosts()\n",
        "",
        ("test_facts",),
    ),
    Mutant(
        "write a changed attribute without deleting the fact first",
        "cabochon.kit.facts.difference",
        "        if not overwrites:\n",
        "        if False:\n",
        ("test_facts",),
    ),
)
