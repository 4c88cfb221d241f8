"""From one set of policies in OPA to another, one request after the other, and all the way back if it can't be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio.to_thread
import structlog

from cabochon.errors import StoreRejectedError
from cabochon_opa.policies.known_policies import KnownPolicies
from cabochon_opa.policies.order import in_order, outline, users_of

__all__ = ["Refusals", "Step", "Transition"]

log = structlog.get_logger()

Refusals = dict["Step", StoreRejectedError]


@dataclass(frozen=True, slots=True)
class Step:
    """Put `source` in force under `id`, or delete what is there if it is None."""

    id: str
    source: str | None


@dataclass(slots=True)
class Transition:
    """One way from what is in OPA to what is wanted; ids that it concerns must be known beforehand.

    Attributes:
        known: through which it writes.
        ours: ids that may be taken out for a moment where nothing else helps.
    """

    known: KnownPolicies
    ours: Sequence[str]
    _done: list[Step] = field(default_factory=list[Step])

    async def run(self, wanted: Mapping[str, str | None]) -> Refusals:
        """Make `wanted` true: id to source, None to delete; in force already is left alone.

        Returns:
            What OPA refuses in the end, nothing if all is in force. The way back is `undo`.

        Raises:
            StoreUnavailableError: it does not answer; some of it may be in force.
        """
        steps = await anyio.to_thread.run_sync(self._steps, wanted)
        refused = await self._converge(steps)
        if refused and self._may_help_each_other(refused):
            refused = await self._take_apart(refused)
        return refused

    async def undo(self) -> Refusals:
        """Put back what was there before `run`, step by step: OPA has accepted each of these states once."""
        refused: Refusals = {}
        while self._done:
            step = self._done.pop()
            if self.known[step.id] != step.source and (refusal := await self.known.write(step.id, step.source)):
                refused[step] = refusal
        return refused

    def _steps(self, wanted: Mapping[str, str | None]) -> list[Step]:
        """What must be done: first puts, each after what it refers to, then deletes, each after what refers to it."""
        puts = {id_: source for id_, source in wanted.items() if source is not None and self.known[id_] != source}
        doomed = {id_: old for id_, source in wanted.items() if source is None and (old := self.known[id_]) is not None}
        return [
            *(Step(id_, puts[id_]) for id_ in in_order(puts)),
            *(Step(id_, None) for id_ in reversed(in_order(doomed))),
        ]

    async def _converge(self, steps: Sequence[Step]) -> Refusals:
        """Do the steps, and those that are refused again after the others, as long as that gets on."""
        while True:
            refused: Refusals = {}
            for step in steps:
                refusal = await self._do(step)
                if refusal is not None:
                    refused[step] = refusal
            if not refused or len(refused) == len(steps) or any(map(_is_no_rego, refused.values())):
                return refused
            log.debug("policies.retried", policies=[step.id for step in refused])
            steps = list(refused)

    async def _do(self, step: Step) -> StoreRejectedError | None:
        before = self.known[step.id]
        refusal = await self.known.write(step.id, step.source)
        if refusal is None:
            self._done.append(Step(step.id, before))
        return refusal

    async def _take_apart(self, stuck: Refusals) -> Refusals:
        """Take out what the stuck steps replace, with all that refers to it, and put the new in.

        Two modules may each need the other's new text to compile.
        """
        in_force = {id_: source for id_ in self.ours if (source := self.known.get(id_)) is not None}
        out = await anyio.to_thread.run_sync(users_of, in_force, [step.id for step in stuck])
        if not out:
            return stuck
        log.info("policies.taken_apart", policies=out)
        await self._converge([Step(id_, None) for id_ in out])
        wanted: dict[str, str | None] = {id_: in_force[id_] for id_ in out}
        wanted.update({step.id: step.source for step in stuck})
        return await self._converge(await anyio.to_thread.run_sync(self._steps, wanted))

    def _may_help_each_other(self, refused: Refusals) -> bool:
        """Whether each of these refusals speaks of another of the refused steps.

        If one does not, everything that it speaks of is as it should be already: it is wrong in itself.
        """
        marks = {step: self._marks(step) for step in refused}
        return all(
            any(mark in str(refusal) for other in refused if other is not step for mark in marks[other])
            for step, refusal in refused.items()
        )

    def _marks(self, step: Step) -> list[str]:
        """What an error that speaks of this step's module has in it: its id, or its package, the old or the new one."""
        sources = [source for source in (step.source, self.known[step.id]) if source is not None]
        return [f" {step.id}:", *(f"data.{'.'.join(outline(source).package)}." for source in sources)]


def _is_no_rego(refusal: StoreRejectedError) -> bool:
    """Whether nothing that happens to other modules can help."""
    return "rego_parse_error" in str(refusal)
