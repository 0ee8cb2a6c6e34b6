"""What follows from a finding: asks the guard about one part of a request, and applies its policy.

The pipelines call it for the input, the passages and each sentence of the output. What ran and how
it ended is written to the request's context, which the answer and its headers show.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tiffin.config.safety import ACTIONS, Action, Check, Policy
from tiffin.core.checks import PARTS, CheckRun, Outcome, Part
from tiffin.core.context import RequestContext
from tiffin.core.errors import CONTENT_FILTER, RECOVERABLE, InvalidRequest, TiffinError, Unavailable
from tiffin.core.messages import Checked, Finding
from tiffin.telemetry import metrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """What is to be done with a text: the strongest action, for which checks; None if it is clean.

    `spans` are what to redact, in code points, each with what it is. `orders` are sentences of a
    document that are no evidence, because they give orders to the model.
    """

    action: Action | None = None
    checks: tuple[str, ...] = ()
    spans: tuple[tuple[int, int, str], ...] = ()
    orders: tuple[str, ...] = ()

    def redacted(self, text: str) -> str:
        """The text with the kind of each span in its place."""
        for start, end, kind in sorted(self.spans, reverse=True):
            text = f"{text[:start]}[{kind}]{text[end:]}"
        return text


CLEAN = Judgement()


class Checker(Protocol):
    """What a judge asks: `tiffin.safety.guard`."""

    def groups(self, checks: Sequence[Check]) -> list[list[Check]]:
        """The checks, in groups of which one may fail while another runs."""
        ...

    async def check(
        self,
        texts: Sequence[str],
        checks: Sequence[Check],
        context: RequestContext,
        *,
        vectors: NDArray[np.float32] | None = None,
        documents: bool = False,
    ) -> list[Checked]:
        """What the checks say of each text. Raises what services raise."""
        ...

    async def orders(
        self, sentences: Sequence[str], vectors: NDArray[np.float32], context: RequestContext
    ) -> set[str]:
        """Those that probably give orders to the model. Raises what services raise."""
        ...


@dataclass(frozen=True)
class Judge:
    """Of one part of requests of one route. `policy` is not empty."""

    part: Part
    policy: Policy
    guard: Checker

    async def judge(
        self,
        texts: Sequence[str],
        context: RequestContext,
        *,
        vectors: NDArray[np.float32] | None = None,
        documents: bool = False,
    ) -> list[Judgement]:
        """What is to be done with each text.

        If the checks do not run in time, every text counts as clean, unless the policy blocks: then
        it raises Unavailable.
        """
        found = await asyncio.gather(
            *(
                self._found(texts, checks, context, vectors=vectors, documents=documents)
                for checks in self.guard.groups(list(self.policy))
            )
        )
        return [self._one(checked) for checked in Checked.merged(found)]

    async def orders(
        self, sentences: Sequence[str], vectors: NDArray[np.float32], context: RequestContext
    ) -> set[str]:
        """Those of the sentences that probably give orders to the model.

        `vectors` float32 (len(sentences), dimensions). None if the policy only logs, or if the
        check does not run, now or when the part was judged; a policy that blocks then raises
        Unavailable.
        """
        away = any(
            (run.part, run.check, run.outcome) == (self.part, "injection", "not_run")
            for run in context.checks
        )
        if away or self.policy.get("injection", "log") == "log":
            return set()
        try:
            return await self.guard.orders(sentences, vectors, context)
        except RECOVERABLE as error:
            self._did_not_run(["injection"], context, error)
            return set()

    async def _found(
        self,
        texts: Sequence[str],
        checks: Sequence[Check],
        context: RequestContext,
        *,
        vectors: NDArray[np.float32] | None,
        documents: bool,
    ) -> list[Checked]:
        """What checks that fail together say; nothing, if they do not run and none may block."""
        try:
            found = await self.guard.check(
                texts, checks, context, vectors=vectors, documents=documents
            )
        except RECOVERABLE as error:
            self._did_not_run(checks, context, error)
            return [Checked([], {})] * len(texts)
        said = {finding.check for one in found for finding in one.findings}
        self._tell(context, {check: _outcome(check in said) for check in checks})
        return found

    def _did_not_run(
        self, checks: Sequence[Check], context: RequestContext, error: TiffinError
    ) -> None:
        """Say so. Raises Unavailable if one of the checks may block."""
        self._tell(context, dict.fromkeys(checks, "not_run"))
        if any(self.policy[check] == "block" for check in checks):
            message = f"safety: the check of the {self.part} did not run: {error.message}"
            raise Unavailable(message, code="safety_unavailable") from error

    def _one(self, checked: Checked) -> Judgement:
        actions = {finding.check: self._action(finding) for finding in checked.findings}
        orders = () if self.policy.get("injection") == "log" else tuple(checked.orders)
        if not actions:
            return Judgement(orders=orders)
        spans = [
            (one.start, one.end, one.kind)
            for one in checked.findings
            if self._action(one) == "redact"
        ]
        worst = max(actions.values(), key=ACTIONS.index)
        return Judgement(worst, tuple(actions), tuple(spans), orders)

    def _action(self, finding: Finding) -> Action:
        return self.policy[cast("Check", finding.check)]

    def _tell(self, context: RequestContext, outcomes: dict[Check, Outcome]) -> None:
        """Count the checks, and note them where the answer will show them: the worst of a part.

        What is only logged is noted as having run, and the verdict stays in the log.
        """
        for check, outcome in outcomes.items():
            metrics.series(metrics.checks_total, self.part, check, outcome).inc()
            action = self.policy[check]
            if outcome == "flagged":
                logger.warning(
                    "safety: %s flagged by %s (%s): request %s",
                    self.part,
                    check,
                    action,
                    context.request_id,
                )
            shown: Outcome = "ran" if (outcome, action) == ("flagged", "log") else outcome
            note(context, CheckRun(part=self.part, check=check, outcome=shown, action=action))


@dataclass(frozen=True)
class Judges:
    """Of one part of requests of one route: the common judge, and those of single tenants."""

    common: Judge | None = None
    tenants: Mapping[str, Judge | None] = field(default_factory=dict)

    def of(self, tenant: str) -> Judge | None:
        """The judge of that tenant's requests; None if nothing of them is to be checked."""
        return self.tenants.get(tenant, self.common)

    @property
    def needed(self) -> bool:
        """Whether anything is checked for anyone."""
        return self.common is not None or any(self.tenants.values())


NOTHING_CHECKED = Judges()


def judges_of(
    part: Part, common: Policy, tenants: Mapping[str, Policy], guard: Checker | None
) -> Judges:
    """The judges of a part. Without a guard nothing is checked."""

    def judge(policy: Policy) -> Judge | None:
        return Judge(part, policy, guard) if guard is not None and policy else None

    return Judges(judge(common), {tenant: judge(policy) for tenant, policy in tenants.items()})


def note(context: RequestContext, run: CheckRun) -> None:
    """Write a check to the context, once for each part; a worse outcome replaces a better one."""
    order: tuple[Outcome, ...] = ("clean", "ran", "not_run", "flagged")
    for index, known in enumerate(context.checks):
        if (known.part, known.check) == (run.part, run.check):
            if order.index(run.outcome) > order.index(known.outcome):
                context.checks[index] = run
            return
    context.checks.append(run)
    context.checks.sort(key=lambda known: PARTS.index(known.part))


def refusal(part: Part, field: str, judgement: Judgement) -> InvalidRequest:
    """The error for a request that the policy blocks."""
    message = (
        f"{field}: the {part} was refused by the safety policy ({', '.join(judgement.checks)})"
    )
    return InvalidRequest(message, param=field, code=CONTENT_FILTER)


def _outcome(flagged: bool) -> Outcome:  # noqa: FBT001
    return "flagged" if flagged else "clean"
