"""Which nodes of a workflow start, which are skipped, and how does it end?

Incremental: a node that ends costs its edges, never a look at the whole. The rules are SEMANTICS §8.1-8.3; rule x
outcomes is the table `_VERDICTS` below, rule x on_failure is `survives_stop`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from zquant_flow.core.graph import Plan
from zquant_flow.core.model import OnFailure, TriggerRule, WorkflowType
from zquant_flow.core.status import UNSUCCESSFUL, Status


class SkipReason(StrEnum):
    """Why a node never ran."""

    RULE = "trigger_rule"
    WHEN = "when"
    STOPPED = "workflow_stopped"
    TERMINATED = "workflow_terminated"


WAITING, READY, STARTED, SKIPPED, SUCCEEDED, FAILED = range(6)


@dataclass(slots=True)
class Step:
    """What a change brings about: nodes that may start, in order, and nodes that are skipped, with the reason."""

    ready: list[int] = field(default_factory=list)
    skipped: list[tuple[int, SkipReason]] = field(default_factory=list)


class Progress:
    """The memory of one run of a workflow. Not thread-safe: its engine owns it.

    `serial` hands out one node at a time, in topological order; `parallel` each node the moment its rule is met.
    """

    __slots__ = (
        "_cursor",
        "_done",
        "_failed_dependencies",
        "_lane_free",
        "_plan",
        "_queue",
        "_rank",
        "_rules",
        "_serial",
        "_settled",
        "_stop_on_failure",
        "_succeeded_dependencies",
        "failures",
        "state",
        "stopped",
    )

    def __init__(
        self,
        plan: Plan,
        rules: Sequence[TriggerRule],
        *,
        workflow_type: WorkflowType,
        on_failure: OnFailure,
    ) -> None:
        size = len(plan)
        self._plan = plan
        self._rules = rules
        self._serial = workflow_type is WorkflowType.SERIAL
        self._stop_on_failure = on_failure is OnFailure.STOP
        self._done = [0] * size
        self._succeeded_dependencies = [0] * size
        self._failed_dependencies = [0] * size
        self._settled = 0
        self._queue: list[int] = []
        self._rank = [0] * size
        for rank, node in enumerate(plan.order):
            self._rank[node] = rank
        self._lane_free = True
        self.state = bytearray(size)
        self.failures = 0
        self.stopped = False

    @property
    def finished(self) -> bool:
        """Every node has ended or is skipped."""
        return self._settled == len(self._plan)

    @property
    def settled(self) -> int:
        """How many nodes have ended or are skipped."""
        return self._settled

    @property
    def succeeded(self) -> int:
        """How many nodes have ended well."""
        return self.state.count(SUCCEEDED)

    def start(self) -> Step:
        """The nodes that wait for nobody."""
        step = Step()
        for node in self._plan.order:
            if not self._plan.dependencies[node] and self.state[node] == WAITING:
                self._release(node, step)
        return self._paced(step)

    def finish(self, node: int, status: Status) -> Step:
        """Node `node` has ended with this final status."""
        step = Step()
        self._lane_free = True
        self._settle(node, _state_of(status), step)
        if status in UNSUCCESSFUL:
            self.failures += 1
            if self._stop_on_failure and not self.stopped:
                self._stop(step)
        return self._paced(step)

    def skip(self, node: int, reason: SkipReason) -> Step:
        """A ready node is not to run: done, without success; its place in a serial workflow is free."""
        step = Step(skipped=[(node, reason)])
        self._lane_free = True
        self._settle(node, SKIPPED, step)
        return self._paced(step)

    def began(self, node: int) -> None:
        """Node `node` has started: from here on nothing but its end changes it. One that was given up counts again."""
        self._settled -= self.state[node] == SKIPPED
        self.state[node] = STARTED

    def may_start(self, node: int) -> bool:
        """Whether a node that was ready still is: a failure or a terminate may have come in between."""
        return self.state[node] == READY

    def abandon(self) -> Step:
        """The workflow is being terminated: whatever has not started is skipped."""
        step = Step()
        for node, state in enumerate(self.state):
            if state <= READY:
                step.skipped.append((node, SkipReason.TERMINATED))
                self.state[node] = SKIPPED
                self._settled += 1
        self._queue.clear()
        return step

    def outcome(self) -> Status:
        """The status of the workflow itself, once it is finished."""
        if not self.failures:
            return Status.SUCCESS
        return Status.FAILED if self._stop_on_failure else Status.COMPLETED

    def restore(
        self,
        ended: Iterable[tuple[int, Status]],
        started: Iterable[int],
        *,
        past: Iterable[tuple[int, Status]] = (),
        free: int | None = None,
    ) -> Step:
        """Rebuild from rows: nodes that have ended, nodes that have started; the step holds what comes besides those.

        `past`: nodes that ended in an earlier run; their failures count, and stop nothing. `free` starts whatever its rule says.
        """
        step = Step()
        self._lane_free = True
        for node in started:
            self.began(node)
            self._lane_free = False
        own, before = dict(ended), dict(past)
        recorded = {**before, **own}
        for node in recorded:  # what is recorded holds, also where its rule would say something else
            self.began(node)
        if free is not None and self.state[free] == WAITING:
            self._release(free, step)
        for node, status in recorded.items():
            verdict = _state_of(status)
            self.failures += verdict == FAILED
            self._settle(node, verdict, step)
        for node in self._plan.order:
            if not self._plan.dependencies[node] and self.state[node] == WAITING:
                self._release(node, step)
        if self._stop_on_failure and any(_state_of(status) == FAILED for status in own.values()):
            self._stop(step)
        return self._paced(step)

    def _settle(self, node: int, state: int, step: Step) -> None:
        """Mark an end and look at those that wait for it; a skip ripples on without recursion."""
        pending = [(node, state)]
        while pending:
            node, state = pending.pop()
            if self.state[node] >= SKIPPED:
                continue
            self.state[node] = state
            self._settled += 1
            for later in self._plan.dependents[node]:
                self._done[later] += 1
                self._succeeded_dependencies[later] += state == SUCCEEDED
                self._failed_dependencies[later] += state == FAILED
                if self.state[later] != WAITING:
                    continue
                verdict = self._verdict(later)
                if verdict is None:
                    continue
                if not verdict:
                    step.skipped.append((later, SkipReason.RULE))
                    pending.append((later, SKIPPED))
                elif self.stopped and not survives_stop(self._rules[later]):
                    step.skipped.append((later, SkipReason.STOPPED))
                    pending.append((later, SKIPPED))
                else:
                    self._release(later, step)

    def _verdict(self, node: int) -> bool | None:
        """May the node start (True), is it skipped (False), or is it too early to say (None)?"""
        total = len(self._plan.dependencies[node])
        return _VERDICTS[self._rules[node]](
            total, self._done[node], self._succeeded_dependencies[node], self._failed_dependencies[node]
        )

    def _release(self, node: int, step: Step) -> None:
        self.state[node] = READY
        step.ready.append(node)

    def _stop(self, step: Step) -> None:
        """A failure under `stop`: only nodes that exist for failures, or run in any case, may still start."""
        self.stopped = True
        for node in self._plan.order:
            if self.state[node] <= READY and not survives_stop(self._rules[node]):
                step.skipped.append((node, SkipReason.STOPPED))
                self._settle(node, SKIPPED, step)
        step.ready = [node for node in step.ready if self.state[node] == READY]
        self._queue = [rank for rank in self._queue if self.state[self._plan.order[rank]] == READY]
        heapq.heapify(self._queue)

    def _paced(self, step: Step) -> Step:
        """Serial workflows let one node through at a time, the first in order; the others stay queued."""
        if not self._serial:
            return step
        for node in step.ready:
            heapq.heappush(self._queue, self._rank[node])
        step.ready = []
        if self._lane_free and self._queue:
            step.ready = [self._plan.order[heapq.heappop(self._queue)]]
            self._lane_free = False
        return step


def _state_of(status: Status) -> int:
    if status is Status.SKIPPED:
        return SKIPPED
    return FAILED if status in UNSUCCESSFUL else SUCCEEDED


def survives_stop(rule: TriggerRule) -> bool:
    """Whether a node with this rule may still start after a failure under `on_failure: stop`."""
    return rule in (TriggerRule.ALL_DONE, TriggerRule.ANY_FAILED)


def _all_success(total: int, done: int, succeeded: int, failed: int) -> bool | None:
    if succeeded == total:
        return True
    return False if succeeded < done else None


def _all_done(total: int, done: int, succeeded: int, failed: int) -> bool | None:
    return True if done == total else None


def _any_success(total: int, done: int, succeeded: int, failed: int) -> bool | None:
    if succeeded or not total:
        return True
    return False if done == total else None


def _any_failed(total: int, done: int, succeeded: int, failed: int) -> bool | None:
    if failed:
        return True
    return False if done == total else None


def _none_failed(total: int, done: int, succeeded: int, failed: int) -> bool | None:
    if failed:
        return False
    return True if done == total else None


_VERDICTS = {
    TriggerRule.ALL_SUCCESS: _all_success,
    TriggerRule.ALL_DONE: _all_done,
    TriggerRule.ANY_SUCCESS: _any_success,
    TriggerRule.ANY_FAILED: _any_failed,
    TriggerRule.NONE_FAILED: _none_failed,
}
