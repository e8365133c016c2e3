"""How does an execution get from one state to the next?

Every step is decided here, remembered, and put into the turn's batch; what must happen outside (start this attempt, end
that one) is collected as effects, to be carried out after the commit. Nothing here does I/O.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from zquant_flow.core.model import Action, TaskDef
from zquant_flow.core.params import checked
from zquant_flow.core.retry import may_retry, retry_delay
from zquant_flow.core.status import Status, TriggerType, advance
from zquant_flow.engine import rows
from zquant_flow.engine.backfills import Backfills
from zquant_flow.engine.deferring import CHECK, Deferring
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.large_results import result_of_outcome
from zquant_flow.engine.memory import Execution, Filed, Memory, Result, Task
from zquant_flow.engine.reporting import Reports
from zquant_flow.engine.workflows import WHY_ENDED, Reusable, Workflows

log = logging.getLogger(__name__)


def _is_lost(outcome: dict[str, Any]) -> bool:
    """Whether the attempt has not failed by itself: it, or its carrier, was ended under it."""
    return outcome["kind"] in ("lost", "shutdown") or outcome.get("code") == "worker_died"


_HELD = (TriggerType.SCHEDULE, TriggerType.EVENT)
"""What a pause of the task holds back, before it begins."""


@dataclass(slots=True)
class Effects:
    """What to do once the batch is in the database."""

    start: list[Execution] = field(default_factory=list)
    terminate: list[tuple[Execution, str]] = field(default_factory=list)
    pause: list[Execution] = field(default_factory=list)
    resume: list[Execution] = field(default_factory=list)
    acknowledge: list[tuple[int, int]] = field(default_factory=list)
    succeeded: list[int] = field(default_factory=list)
    """Executions whose kept state nobody needs any more."""
    copies: list[tuple[Filed, int]] = field(default_factory=list)
    """Results in files that become those of other executions, too."""


class Elsewhere(Protocol):
    """Other engines, which may drive what this one has created."""

    def hand_over(self, execution: Execution) -> bool: ...
    def terminate(self, execution: Execution, why: str) -> None: ...
    def skip(self, execution: Execution) -> None: ...
    def pause(self, execution: Execution) -> None: ...
    def resume(self, execution: Execution) -> None: ...
    def ended(self, execution: Execution) -> None: ...


class Lifecycle:
    """The steps of executions over one `Memory`. Owned by the engine's thread.

    `wake(seconds, what)` calls `what` in the engine's thread after so many seconds. `reusable` reads what a resumed
    workflow need not do again.
    """

    def __init__(
        self,
        memory: Memory,
        dispatcher: Dispatcher,
        wake: Callable[[float, Callable[[], None]], None],
        reusable: Reusable,
    ) -> None:
        self.memory = memory
        self.dispatcher = dispatcher
        self.effects = Effects()
        self._wake = wake
        self.workflows = Workflows(memory, dispatcher, self, wake, reusable)
        self.reports = Reports(memory, wake, self.workflows.progress_of)
        self.backfills = Backfills(memory, self)
        self.deferring = Deferring(memory, dispatcher, self)
        self.elsewhere: Elsewhere | None = None
        """The other engines; None while there can be none."""
        self._standing: list[Execution] = []
        """Pending executions that would have started, had they not been asked to stand still."""
        self.on_end: Callable[[Execution, Status], None] = lambda execution, status: None
        """Called when an execution that stands in its task's history has ended."""
        self._doomed: deque[tuple[Execution, str, str]] = deque()

    def forget(self) -> None:
        """Nothing is to be done any more."""
        self.effects = Effects()
        self._doomed.clear()
        self._standing.clear()
        self.backfills.forget()
        self.reports.forget()
        self.workflows.forget()

    def take_effects(self) -> Effects:
        """The turn's effects, and an empty collection in their place."""
        full, self.effects = self.effects, Effects()
        return full

    # ── an execution comes to be ────────────────────────────────────────────────────────────────────────────────

    def create(
        self,
        task: Task,
        trigger_type: TriggerType,
        *,
        actor: str,
        params: Mapping[str, Any] | None = None,
        logical_time: int | None = None,
        event: Mapping[str, Any] | None = None,
        wait: bool = False,
    ) -> Execution:
        """A root execution of the task's current version. With `wait` it starts when the active ones have ended."""
        execution = self.prepare(task, trigger_type, params=params, logical_time=logical_time, event=event)
        self.begin(execution, actor, wait=wait)
        return execution

    def create_later(self, task: Task, until: int, *, logical_time: int, actor: str) -> Execution:
        """A scheduled execution that starts at `until` (microseconds): it is active from now on, and waits for `jitter`."""
        execution = self.prepare(task, TriggerType.SCHEDULE, logical_time=logical_time)
        self.admit(execution, actor)
        assert execution.row is not None
        execution.waiting_for = execution.row["waiting_for"] = "jitter"
        execution.row["waiting_until"] = until
        self.wait_until(execution, (until - self.memory.now) / 1e6)
        return execution

    def prepare(
        self,
        task: Task,
        trigger_type: TriggerType,
        *,
        params: Mapping[str, Any] | None = None,
        logical_time: int | None = None,
        event: Mapping[str, Any] | None = None,
        original: tuple[int, TaskDef] | None = None,
    ) -> Execution:
        """A root execution of the task's current version, known to nobody yet; or of an earlier, `original` one.

        Raises ParamsError for params that its definition does not take.
        """
        version, definition = original or (task.version, task.definition)
        accepted = checked(definition.param_specs, definition.params, params or {})
        within = definition.expected_within
        deadline = None
        if within is not None and trigger_type is not TriggerType.BACKFILL:
            start = self.memory.now if logical_time is None else logical_time
            deadline = start + within // timedelta.resolution
        return Execution(
            id=self.memory.new_id(),
            task=task,
            version=version,
            definition=definition,
            action=definition.action,
            trigger_type=trigger_type,
            logical_time=logical_time,
            params=accepted,
            created_time=self.memory.now,
            event=event,
            deadline=deadline,
        )

    def begin(self, execution: Execution, actor: str, *, wait: bool = False) -> None:
        """Write its first row and start it; with `wait`, when the task's active executions have ended."""
        self.admit(execution, actor)
        if wait:
            self.wait_for_others(execution)
        else:
            self.proceed(execution)

    def admit(self, execution: Execution, actor: str) -> None:
        """Remember it, write its row, and count it as active for its task."""
        memory, task = self.memory, execution.task
        memory.executions[execution.id] = execution
        execution.waiting_for = "slot"
        execution.row = rows.created(memory, execution, actor=actor)
        memory.fresh.append(execution)
        memory.batch.created.append(execution.row)
        task.remember(execution)
        task.latest_id, task.latest_time = execution.id, memory.now
        task.latest_status = execution.status.value
        memory.batch.activity.append(rows.activity(task, +1))
        self.watch_deadline(execution)

    def watch_deadline(self, execution: Execution) -> None:
        """Say so when it has not ended by then; one that has passed already is told with the next look at the clock."""
        if execution.deadline is None:
            return

        def passed() -> None:
            if self.memory.executions.get(execution.id) is execution:
                self._miss_deadline(execution)

        self._wake(max(0.0, (execution.deadline - self.memory.now) / 1e6), passed)

    def _miss_deadline(self, execution: Execution) -> None:
        memory, task = self.memory, execution.task
        execution.deadline = None
        memory.updates(execution).deadlines.append(rows.late(memory, execution))
        memory.batch.audit.append(
            rows.noted(memory, "deadline_missed", "scheduler", task_id=task.id, execution_id=execution.id)
        )
        log.warning(
            "task %r: execution %d has not ended in time",
            task.name,
            execution.id,
            extra={"action": "deadline_missed"},
        )

    def wait_for_others(self, execution: Execution) -> None:
        """It starts when the task's active executions have ended."""
        execution.waiting_for = "overlap"
        if execution.row is not None:
            execution.row["waiting_for"] = "overlap"
        else:
            self.memory.updates(execution).waiting.append(rows.waiting(self.memory, execution, None))
        execution.task.queue.append(execution)

    def wait_for_slot(self, execution: Execution) -> None:
        """What it waited for has come: from here on only a place is missing, and its row says so."""
        self._wait_for(execution, "slot")

    def _wait_for(self, execution: Execution, what: str) -> None:
        """Its row says what it waits for."""
        if execution.waiting_for == what:
            return
        execution.waiting_for = what
        if execution.row is not None and execution.id not in self.memory.changed:
            execution.row["waiting_for"] = what
        else:
            self.memory.updates(execution).waiting.append(rows.waiting(self.memory, execution, None))

    def proceed(self, execution: Execution) -> None:
        """Start a workflow at once (it needs no slot), queue anything else for one; or let another engine do so."""
        if self._stalls(execution):
            return
        if execution.task.holds and execution.trigger_type is TriggerType.EVENT:
            execution.task.held.append(
                execution
            )  # what has come is not lost: it begins when the task is resumed
            return
        if self.elsewhere is not None and self.elsewhere.hand_over(execution):
            return
        if execution.definition.workflow is not None:
            self.workflows.start(execution, execution.definition.workflow)
        elif execution.action is None:
            error = f"task {execution.task.name!r} has nothing to run"
            self.doom(execution, "nothing_to_run", error)
        else:
            self.requeue(execution)

    # ── attempts start ──────────────────────────────────────────────────────────────────────────────────────────

    def dispatch(self) -> None:
        """Start what waits, as far as there are slots, and end what can't start (a loop, where recursion would dive)."""
        while True:
            for execution, node in self.dispatcher.take():
                if node < 0:
                    self._start_queued(execution)
                else:
                    self.workflows.start_node(execution, node)
            if not self._doomed:
                return
            while self._doomed:
                self.fail(*self._doomed.popleft())

    def _start_queued(self, execution: Execution) -> None:
        if execution.status is not Status.PENDING or execution.id not in self.memory.executions:
            return
        if execution.task.holds and execution.trigger_type in _HELD:
            execution.task.held.append(execution)
            return
        if self._stalls(execution):
            return
        self.mark_running(execution)
        self.occupy(execution)

    def start_row(self, child: Execution) -> None:
        """An inline node's first row says that it runs."""
        memory = self.memory
        memory.executions[child.id] = child
        child.status = Status.RUNNING
        child.start_time = child.attempt_start = memory.now
        child.started_monotonic = child.attempt_monotonic = memory.clock.monotonic()
        child.row = rows.node_started(memory, child)
        memory.fresh.append(child)
        memory.batch.nodes_started.append(child.row)

    def mark_running(self, execution: Execution) -> None:
        """From here on it is `running`; in its own first row, if that is not written yet."""
        memory = self.memory
        execution.status = advance(execution.status, Status.RUNNING)
        execution.waiting_for = None
        if not execution.checks:  # the first look of its attempt, or the only one
            execution.attempt_start = memory.now
            execution.attempt_monotonic, execution.stood_still = memory.clock.monotonic(), 0.0
        if execution.start_time is None:
            execution.start_time = memory.now
            execution.started_monotonic = memory.clock.monotonic()
        update = rows.started(memory, execution)
        if execution.row is not None and execution.id not in memory.changed:
            del update["b_id"]
            execution.row.update(update)
        else:
            memory.updates(execution).started.append(update)
        self._note_latest(execution)

    def doom(self, execution: Execution, code: str, error: str) -> None:
        """It can't start: end it once this turn's work is done (recursion would dive through a long workflow)."""
        self._doomed.append((execution, code, error))

    def occupy(self, execution: Execution) -> None:
        """Give it a slot and start its attempt."""
        self.dispatcher.occupy(execution)
        self.effects.start.append(execution)

    # ── attempts end ────────────────────────────────────────────────────────────────────────────────────────────

    def take_outcome(self, outcome: dict[str, Any]) -> None:
        """Take one outcome of the backend. One that can't be taken ends its own execution and hurts no other."""
        try:
            self.attempt_ended(outcome)
        except Exception:
            log.exception("outcome %s could not be taken", outcome, extra={"action": "outcome_failed"})
            execution = self.memory.executions.get(outcome["id"])
            if execution is not None:
                self.fail(
                    execution, "internal_error", "its outcome could not be taken; the server's log says why"
                )

    def attempt_ended(self, outcome: dict[str, Any]) -> None:
        """Take one outcome of the backend. One that nobody waits for is only acknowledged."""
        self.effects.acknowledge.append((outcome["id"], outcome["attempt"]))
        execution = self.memory.executions.get(outcome["id"])
        if execution is None or outcome["attempt"] != execution.retry_count + 1:
            return
        if execution.status not in (Status.RUNNING, Status.PAUSED) or execution.run is not None:
            return
        self.dispatcher.release(execution)
        if execution.pausing:  # it did not come to stand still, and the wish ends with the attempt
            execution.pausing = False
            self.memory.batch.requests.append(rows.requested(self.memory, execution))
        kind = outcome["kind"]
        if execution.status is Status.PAUSED:
            execution.status = advance(Status.PAUSED, Status.RUNNING)
        if kind == "displaced":
            self._again(execution)
            return
        if outcome.get("progress"):
            self._take_progress(execution, dict(outcome["progress"]))
        self.reports.write_last(execution)
        if kind == "deferred" and execution.ending is None:
            self.deferring.defer(execution, outcome["after"])
        elif not (_is_lost(outcome) and self.deferring.look_again(execution)):
            self.attempt_over(execution, outcome)

    def attempt_over(self, execution: Execution, outcome: dict[str, Any]) -> None:
        """Its attempt is over, whatever that had to wait for."""
        outcome = self.deferring.whole(execution, outcome)
        self.memory.batch.attempts.append(rows.attempted(execution, outcome))
        if outcome["kind"] == "success":
            self.end(execution, Status.SUCCESS, result=result_of_outcome(outcome))
            return
        self._attempt_failed(execution, outcome)

    def _attempt_failed(self, execution: Execution, outcome: dict[str, Any]) -> None:
        kind, code, error = outcome["kind"], outcome.get("code"), outcome.get("error")
        action = execution.action
        asked = execution.terminating is not None and kind != "shutdown"
        if (
            action is not None
            and not asked
            and kind != "terminated"
            and may_retry(action.retry, execution.retry_count)
        ):
            self._retry(execution, action, kind)
            return
        if kind in WHY_ENDED or asked:
            code = execution.terminating or kind
            error = WHY_ENDED[code]
        elif kind == "timeout":
            code = kind
        final = Status.FAILED if kind == "failed" and not asked else Status.TERMINATED
        result = result_of_outcome(outcome)
        self.end(execution, final, result=result, code=code or kind, error=error or kind)

    def _retry(self, execution: Execution, action: Action, kind: str) -> None:
        delay = retry_delay(action.retry, execution.retry_count, random.random())  # noqa: S311
        execution.retry_count += 1
        execution.percent = None
        execution.status = advance(execution.status, Status.PENDING)
        execution.waiting_for = "shutdown" if kind == "shutdown" else "retry"
        until = self.memory.now + int(delay / timedelta(microseconds=1))
        self.memory.updates(execution).waiting.append(rows.waiting(self.memory, execution, until))
        self.deferring.forget(execution)
        self._note_latest(execution)
        self.wait_until(execution, delay.total_seconds())

    def wait_until(self, execution: Execution, seconds: float) -> None:
        """Let it go on when the wait is over, unless it has ended or its task is paused by then."""

        def due() -> None:
            if self.memory.executions.get(execution.id) is not execution:
                return
            if execution.task.holds and execution.parent is None:
                execution.task.held.append(execution)
                return
            if execution.waiting_for == "jitter":
                self.wait_for_slot(execution)
            if execution.waiting_for != CHECK or self.deferring.look(execution):
                self.go_on(execution)

        self._wake(seconds, due)

    def _again(self, execution: Execution) -> None:
        """The attempt ended for no fault of its own: once more, and it costs no retry.

        The attempt keeps its number, so the runner must forget the old outcome first: it is acknowledged in this turn.
        """
        if execution.terminating is not None:
            why = execution.terminating
            self.end(execution, Status.TERMINATED, code=why, error=WHY_ENDED[why])
            return
        execution.status = advance(execution.status, Status.PENDING)
        execution.waiting_for = "slot"
        self.memory.updates(execution).waiting.append(rows.waiting(self.memory, execution, None))
        self.requeue(execution)

    def go_on(self, execution: Execution) -> None:
        """One that was held back starts where it would have started: a first attempt as any, a retry in the queue."""
        if execution.start_time is None:
            self.proceed(execution)
        else:
            self.requeue(execution)

    def requeue(self, execution: Execution) -> None:
        """Queue a pending execution for a slot, and for a place in its pool, if it has one."""
        action = execution.action
        if action is None:
            self.dispatcher.add(execution)
            return
        if action.pool is not None:
            self._wait_for(execution, "pool" if self.dispatcher.is_full(action.pool) else "slot")
        self.dispatcher.add(execution, priority=action.priority, pool=action.pool)

    # ── executions end ──────────────────────────────────────────────────────────────────────────────────────────

    def lost(self, execution: Execution, why: str) -> None:
        """The attempt runs nowhere any more, and nobody will say how it ended."""
        now = self.memory.now
        self.attempt_ended(
            {
                "id": execution.id,
                "attempt": execution.retry_count + 1,
                "kind": "lost",
                "code": "attempt_lost",
                "error": f"{why}, and nobody knows how this attempt ended",
                "started": execution.attempt_start or now,
                "ended": now,
            }
        )

    def fail(self, execution: Execution, code: str, error: str) -> None:
        """End an execution that can't even start an attempt; one that has ended meanwhile stays as it is."""
        if self.memory.executions.get(execution.id) is execution:
            self.end(execution, Status.FAILED, code=code, error=error)

    def end(
        self,
        execution: Execution,
        status: Status,
        *,
        result: Result | None = None,
        code: str | None = None,
        error: str | None = None,
    ) -> None:
        """A final state: write it, tell the workflow above, let those that waited for it go on."""
        memory = self.memory
        execution.status = advance(execution.status, status)
        del memory.executions[execution.id]
        seconds = None
        if execution.start_time is not None:
            seconds = memory.clock.monotonic() - execution.started_monotonic
        if status is Status.SUCCESS:
            execution.percent = 100.0
            if execution.action is not None and execution.action.executor != "command":
                self.effects.succeeded.append(execution.id)
        memory.updates(execution).ended.append(
            rows.ended(memory, execution, seconds=seconds, result=result, code=code, error=error)
        )
        if not execution.inline:
            memory.batch.tallies.append(rows.tallied(execution, seconds))
            memory.batch.standings.append(rows.standing(execution, -1))
            self._leave_task(execution)
        if execution.under is not None and self.elsewhere is not None:
            self.elsewhere.ended(execution)
        if execution.parent is not None:
            self.workflows.node_ended(execution.parent, execution, status, result)

    def ended_elsewhere(self, execution: Execution, status: Status, result: Result | None) -> None:
        """The engine that drove it has written how it ended; what waited for it goes on here."""
        execution.status = status
        del self.memory.executions[execution.id]
        self._leave_task(execution)
        if execution.parent is not None:
            self.workflows.node_ended(execution.parent, execution, status, result)

    def copy_result(self, result: Filed, execution_id: int) -> None:
        """A result in a file becomes that of this execution, too: it outlives the one that it is taken over from."""
        self.effects.copies.append((result, execution_id))

    def skip(self, execution: Execution) -> None:
        """End one that is not to start any more, unless it has."""
        if execution.engine is not None and self.elsewhere is not None:
            self.elsewhere.skip(execution)
        elif execution.status is Status.PENDING and execution.start_time is None:
            self.end(execution, Status.SKIPPED, code="workflow_stopped", error="a node before it failed")

    def _leave_task(self, execution: Execution) -> None:
        task = execution.task
        task.forget(execution)
        if execution in task.queue:
            task.queue.remove(execution)
        if execution in self._standing:
            self._standing.remove(execution)
        if task.latest_id == execution.id:
            task.latest_status = execution.status.value
        if execution.backfill is not None:
            self.backfills.ended(execution)
        self.on_end(execution, execution.status)
        self.let_next(task)
        if not task.active and not task.backfilled:
            self.memory.archived.pop(task.id, None)

    def let_next(self, task: Task) -> None:
        """The first that wait for the task's active executions go on, once there is room for them."""
        while task.queue and len(task.active) - len(task.queue) < task.limit:
            following = task.queue.popleft()
            self.wait_for_slot(following)
            if task.holds and following.trigger_type is TriggerType.SCHEDULE:
                task.held.append(following)
            else:
                self.proceed(following)

    def release(self, task: Task) -> None:
        """What a pause has held goes on."""
        held, task.held = task.held, []
        for execution in held:
            if self.memory.executions.get(execution.id) is execution:
                self.proceed(execution)

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────

    def terminate(self, execution: Execution, why: str = "terminated") -> None:
        """End an execution and all below it. What runs is asked to; its outcome ends it."""
        if execution.terminating is not None:
            return
        execution.terminating = why
        if execution.engine is not None and self.elsewhere is not None:
            self.elsewhere.terminate(execution, why)
        elif execution.run is not None:
            self.workflows.terminate(execution, execution.run, why)
        elif execution.status is Status.PENDING and execution.checks:
            self.memory.batch.requests.append(rows.requested(self.memory, execution))
            self.deferring.end(execution, why)
        elif execution.status is Status.PENDING:
            self.end(execution, Status.TERMINATED, code=why, error=WHY_ENDED[why])
        else:
            self.memory.batch.requests.append(rows.requested(self.memory, execution))
            self.effects.terminate.append((execution, "terminated"))

    def pause(self, execution: Execution) -> None:
        """Ask a running execution to stand still; its acknowledgement makes it `paused`. A workflow is so at once."""
        if execution.engine is not None and self.elsewhere is not None:
            execution.pausing = True
            self.elsewhere.pause(execution)
            return
        if execution.run is not None:
            self.workflows.pause(execution, execution.run)
            return
        execution.pausing = True
        self.memory.batch.requests.append(rows.requested(self.memory, execution))
        self.effects.pause.append(execution)

    def resume(self, execution: Execution) -> None:
        """Let a paused execution go on."""
        if execution.engine is not None and self.elsewhere is not None:
            execution.pausing = False
            self.elsewhere.resume(execution)
            return
        if execution.status is Status.PENDING:
            self.stand(execution, False)
            return
        if execution.run is not None:
            self.workflows.resume(execution, execution.run)
            return
        execution.pausing = False
        self.memory.batch.requests.append(rows.requested(self.memory, execution))
        self.effects.resume.append(execution)

    def stand(self, execution: Execution, still: bool) -> None:
        """A pending one, which was handed over, must not start; or may again."""
        execution.pausing = still
        self.memory.batch.requests.append(rows.requested(self.memory, execution))
        if not still and execution in self._standing:
            self._standing.remove(execution)
            self.go_on(execution)

    def _stalls(self, execution: Execution) -> bool:
        """Whether it has to wait because it, or the workflow around it, is paused."""
        if execution.pausing:
            self._standing.append(execution)
            return True
        return self.workflows.stalls(execution)

    def acknowledged(self, execution: Execution, status: Status) -> None:
        """The backend says that an attempt stands still, or goes on; of one that has ended meanwhile it says nothing."""
        stands = (Status.PAUSED, Status.RUNNING)
        if execution.status is status or status not in stands or execution.status not in stands:
            return
        execution.status = advance(execution.status, status)
        execution.pausing = False
        self._stand_still(execution)
        self.memory.updates(execution).paused.append(rows.paused(self.memory, execution))
        self._note_latest(execution)

    def _stand_still(self, execution: Execution) -> None:
        """Its clock stands while it is paused."""
        now = self.memory.clock.monotonic()
        if execution.status is Status.PAUSED:
            execution.paused_since = now
        elif execution.paused_since is not None:
            execution.stood_still += now - execution.paused_since
            execution.paused_since = None
        if execution.news is not None or execution.run is not None:
            self.reports.note(execution)

    def progressed(self, facts: dict[str, Any]) -> None:
        """Take one progress report of the backend; what an attempt has said that is over is nobody's."""
        execution = self.memory.executions.get(facts["id"])
        if execution is not None and facts.get("attempt") in (None, execution.retry_count + 1):
            self._take_progress(execution, facts)

    def _take_progress(self, execution: Execution, facts: dict[str, Any]) -> None:
        handle = facts.pop("handle", None)
        if isinstance(handle, str):
            self.deferring.keep(execution, handle)
        self.reports.take(execution, facts)

    def advanced(self, execution: Execution) -> None:
        """A workflow is further."""
        self.reports.note(execution)

    def advanced_last(self, execution: Execution) -> None:
        """A workflow is at its end."""
        self.reports.write(execution)

    def _note_latest(self, execution: Execution) -> None:
        task = execution.task
        if execution.inline:
            return
        if task.latest_id == execution.id or execution.under is not None:
            task.latest_status = execution.status.value
            self.memory.batch.standings.append(rows.standing(execution, 0))
