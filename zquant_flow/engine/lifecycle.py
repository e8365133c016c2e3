"""How does an execution get from one state to the next?

Every step is decided here, remembered, and put into the turn's batch; what must happen outside (start this attempt, end
that one) is collected as effects, to be carried out after the commit. Nothing here does I/O.
"""

from __future__ import annotations

import json
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from zquant_flow.core.graph import Plan, plan_workflow
from zquant_flow.core.model import Action, TaskDef, Workflow
from zquant_flow.core.progress import Progress, Step, survives_stop
from zquant_flow.core.references import referenced_nodes, resolve
from zquant_flow.core.retry import may_retry, retry_delay
from zquant_flow.core.status import Status, TriggerType, advance
from zquant_flow.engine import rows
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.memory import Execution, Memory, Run, Task
from zquant_flow.errors import ZquantFlowError

log = logging.getLogger(__name__)

UNBOUNDED = 1 << 62
PROGRESS_INTERVAL = 0.25


@dataclass(slots=True)
class Effects:
    """What to do once the batch is in the database."""

    start: list[Execution] = field(default_factory=list)
    terminate: list[tuple[Execution, str]] = field(default_factory=list)
    pause: list[Execution] = field(default_factory=list)
    resume: list[Execution] = field(default_factory=list)
    acknowledge: list[tuple[int, int]] = field(default_factory=list)


class Lifecycle:
    """The steps of executions over one `Memory`. Owned by the engine's thread.

    `wake(seconds, what)` calls `what` in the engine's thread after so many seconds.
    """

    def __init__(
        self, memory: Memory, dispatcher: Dispatcher, wake: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self.memory = memory
        self.dispatcher = dispatcher
        self.effects = Effects()
        self._wake = wake
        self._plans: dict[tuple[int, int], Plan] = {}
        self._doomed: deque[tuple[Execution, str, str]] = deque()

    def forget(self) -> None:
        """Nothing is to be done any more."""
        self.effects = Effects()
        self._doomed.clear()

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
        resume_from: int | None = None,
        wait: bool = False,
    ) -> Execution:
        """A root execution of the task's current version. With `wait` it starts when the active ones have ended."""
        execution = Execution(
            id=self.memory.new_id(),
            task=task,
            version=task.version,
            definition=task.definition,
            action=task.definition.action,
            trigger_type=trigger_type,
            logical_time=logical_time,
            params={**task.definition.params, **(params or {})},
            created_time=self.memory.now,
        )
        self._admit(execution, actor, resume_from)
        if wait:
            self._wait_for_others(execution)
        else:
            self.proceed(execution)
        return execution

    def _admit(self, execution: Execution, actor: str, resume_from: int | None = None) -> None:
        """Remember it, write its row, and count it as active for its task."""
        memory, task = self.memory, execution.task
        memory.executions[execution.id] = execution
        execution.waiting_for = "slot"
        execution.row = rows.created(memory, execution, actor=actor, resume_from=resume_from)
        memory.fresh.append(execution)
        memory.batch.created.append(execution.row)
        task.active[execution.id] = execution
        if execution.parent is None:
            task.latest_id, task.latest_time = execution.id, memory.now
            task.latest_status = execution.status.value
        memory.batch.activity.append(rows.activity(task, +1))

    def _wait_for_others(self, execution: Execution) -> None:
        execution.waiting_for = "overlap"
        if execution.row is not None:
            execution.row["waiting_for"] = "overlap"
        else:
            self.memory.updates(execution).waiting.append(rows.waiting(self.memory, execution, None))
        execution.task.queue.append(execution)

    def proceed(self, execution: Execution) -> None:
        """Start a workflow at once (it needs no slot), queue anything else for one."""
        if execution.definition.workflow is not None:
            self._start_workflow(execution, execution.definition.workflow)
        elif execution.action is None:
            error = f"task {execution.task.name!r} has nothing to run"
            self._doomed.append((execution, "nothing_to_run", error))
        else:
            self.dispatcher.add(execution, priority=execution.action.priority)

    # ── workflows ───────────────────────────────────────────────────────────────────────────────────────────────

    def new_run(self, execution: Execution, workflow: Workflow) -> Run:
        """The memory of a workflow's run, nothing started yet."""
        key = (execution.task.id, execution.version)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) > 200:
                self._plans.clear()
            plan = self._plans[key] = plan_workflow(workflow)
        progress = Progress(
            plan,
            [node.trigger_rule for node in workflow.nodes],
            workflow_type=workflow.workflow_type,
            on_failure=workflow.on_failure,
        )
        wanted = _wanted(workflow)
        return Run(
            plan=plan, progress=progress, max_parallel=workflow.max_parallel or UNBOUNDED, wanted=wanted
        )

    def _start_workflow(self, execution: Execution, workflow: Workflow) -> None:
        execution.run = self.new_run(execution, workflow)
        self._mark_running(execution)
        if workflow.timeout is not None:
            self.watch_workflow(execution, workflow.timeout.total_seconds())
        self.follow(execution, execution.run.progress.start())
        self._finish_if_done(execution)

    def continue_workflow(self, execution: Execution, step: Step) -> None:
        """Go on with a workflow that was rebuilt from its rows; `step` is what was due besides them."""
        run = execution.run
        assert run is not None
        step.ready = [node for node in step.ready if run.progress.may_start(node)]
        self.follow(execution, step)
        self._finish_if_done(execution)

    def watch_workflow(self, execution: Execution, seconds: float) -> None:
        """Terminate the whole tree when its `workflow_timeout` is over."""

        def overdue() -> None:
            if self.memory.executions.get(execution.id) is execution:
                self.terminate(execution, "workflow_timeout")

        self._wake(seconds, overdue)

    def follow(self, execution: Execution, step: Step) -> None:
        """Carry out what a workflow's progress says: queue the ready nodes, write the skipped ones."""
        run = execution.run
        assert run is not None
        if step.skipped:
            self.memory.batch.nodes_skipped.extend(
                rows.node_skipped(self.memory, execution, node, reason.value) for node, reason in step.skipped
            )
        for node in step.ready:
            if run.occupied >= run.max_parallel:
                run.parked.append(node)
            else:
                run.occupied += 1
                self._offer(execution, node)

    def _offer(self, execution: Execution, node: int) -> None:
        """A node is ready: queue it for a slot, or make the execution of the task it refers to."""
        workflow = execution.definition.workflow
        assert workflow is not None
        definition = workflow.nodes[node]
        if definition.task is None:
            assert definition.action is not None
            self.dispatcher.add(execution, node, definition.action.priority)
            return
        self._begin_reference(execution, node, definition.task, definition.arguments)

    def _begin_reference(self, parent: Execution, node: int, name: str, arguments: Mapping[str, Any]) -> None:
        task = self.memory.by_name.get(name)
        if task is None:
            child = self._child(parent, node, parent.task, parent.definition, None)
            self._start_row(child)
            self._doomed.append(
                (child, "task_missing", f"the node refers to task {name!r}, which is not registered")
            )
            return
        child = self._child(parent, node, task, task.definition, task.definition.action)
        child.params = {**task.definition.params, **parent.params}
        self._admit(child, "workflow")
        if not self._give_arguments(child, arguments):
            return
        others = any(other is not child for other in task.active.values())
        if others and task.definition.overlap.value != "allow":
            self._wait_for_others(child)
        else:
            self.proceed(child)

    def _child(
        self, parent: Execution, node: int, task: Task, definition: TaskDef, action: Action | None
    ) -> Execution:
        assert parent.run is not None
        child = Execution(
            id=self.memory.new_id(),
            task=task,
            version=parent.version if task is parent.task else task.version,
            definition=definition,
            action=action,
            trigger_type=TriggerType.WORKFLOW,
            parent=parent,
            node=node,
            logical_time=parent.logical_time,
            params=parent.params,
            created_time=self.memory.now,
        )
        parent.run.progress.began(node)
        parent.run.children[node] = child
        return child

    def _give_arguments(self, child: Execution, arguments: Mapping[str, Any]) -> bool:
        """Resolve what the node is called with; a value that is not there fails the node."""
        if not arguments:
            return True
        parent = child.parent
        assert parent is not None and parent.run is not None
        scope = {"params": parent.params, "nodes": parent.run.results}
        try:
            child.params = {**child.params, **resolve(arguments, scope)}
            assert child.row is not None
            child.row["params"] = rows.json_text(child.params)
        except ZquantFlowError as error:
            self._doomed.append((child, "invalid_params", str(error)))
            return False
        return True

    # ── attempts start ──────────────────────────────────────────────────────────────────────────────────────────

    def dispatch(self) -> None:
        """Start what waits, as far as there are slots, and end what can't start (a loop, where recursion would dive)."""
        while True:
            for execution, node in self.dispatcher.take():
                if node < 0:
                    self._start_queued(execution)
                else:
                    self._start_node(execution, node)
            if not self._doomed:
                return
            while self._doomed:
                self.fail(*self._doomed.popleft())

    def _start_queued(self, execution: Execution) -> None:
        if execution.status is not Status.PENDING or execution.id not in self.memory.executions:
            return
        if execution.task.paused and execution.trigger_type is TriggerType.SCHEDULE:
            execution.task.held.append(execution)
            return
        self._mark_running(execution)
        self._occupy(execution)

    def _start_node(self, parent: Execution, node: int) -> None:
        run, workflow = parent.run, parent.definition.workflow
        assert run is not None and workflow is not None
        if not run.progress.may_start(node):
            self._vacate(parent)
            return
        definition = workflow.nodes[node]
        child = self._child(parent, node, parent.task, parent.definition, definition.action)
        self._start_row(child)
        if self._give_arguments(child, definition.arguments):
            self._occupy(child)

    def _start_row(self, child: Execution) -> None:
        memory = self.memory
        memory.executions[child.id] = child
        child.status = Status.RUNNING
        child.start_time = child.attempt_start = memory.now
        child.started_monotonic = memory.clock.monotonic()
        child.row = rows.node_started(memory, child)
        memory.fresh.append(child)
        memory.batch.nodes_started.append(child.row)

    def _mark_running(self, execution: Execution) -> None:
        memory = self.memory
        execution.status = advance(execution.status, Status.RUNNING)
        execution.waiting_for = None
        execution.attempt_start = memory.now
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

    def _occupy(self, execution: Execution) -> None:
        self.dispatcher.occupy()
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
        self.dispatcher.release()
        kind = outcome["kind"]
        if execution.status is Status.PAUSED:
            execution.status = advance(Status.PAUSED, Status.RUNNING)
        if kind == "displaced":
            self._again(execution)
            return
        if outcome.get("progress"):
            self.progressed({"id": execution.id, **outcome["progress"]})
        self.memory.batch.attempts.append(rows.attempted(execution, outcome))
        if kind == "success":
            self._end(execution, Status.SUCCESS, result=outcome.get("result"))
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
        final = Status.FAILED if kind == "failed" and not asked else Status.TERMINATED
        self._end(execution, final, result=outcome.get("result"), code=code or kind, error=error or kind)

    def _retry(self, execution: Execution, action: Action, kind: str) -> None:
        delay = retry_delay(action.retry, execution.retry_count, random.random())  # noqa: S311
        execution.retry_count += 1
        execution.status = advance(execution.status, Status.PENDING)
        execution.waiting_for = "shutdown" if kind == "shutdown" else "retry"
        until = self.memory.now + int(delay / timedelta(microseconds=1))
        self.memory.updates(execution).waiting.append(rows.waiting(self.memory, execution, until))
        self._note_latest(execution)
        self.wait_for_retry(execution, delay.total_seconds())

    def wait_for_retry(self, execution: Execution, seconds: float) -> None:
        """Queue it again when the wait is over, unless it has ended or its task is paused by then."""

        def due() -> None:
            if self.memory.executions.get(execution.id) is not execution:
                return
            if execution.task.paused and execution.parent is None:
                execution.task.held.append(execution)
            else:
                self.requeue(execution)

        self._wake(seconds, due)

    def _again(self, execution: Execution) -> None:
        """The attempt ended for no fault of its own: once more, and it costs no retry.

        The attempt keeps its number, so the runner must forget the old outcome first: it is acknowledged in this turn.
        """
        if execution.terminating is not None:
            why = execution.terminating
            self._end(execution, Status.TERMINATED, code=why, error=_WHY_ENDED[why])
            return
        execution.status = advance(execution.status, Status.PENDING)
        execution.waiting_for = "slot"
        self.memory.updates(execution).waiting.append(rows.waiting(self.memory, execution, None))
        self.requeue(execution)

    def requeue(self, execution: Execution) -> None:
        """Queue a pending execution for a slot."""
        self.dispatcher.add(execution, priority=execution.action.priority if execution.action else 0)

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
            self._end(execution, Status.FAILED, code=code, error=error)

    def _end(
        self,
        execution: Execution,
        status: Status,
        *,
        result: str | None = None,
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
        memory.updates(execution).ended.append(
            rows.ended(memory, execution, seconds=seconds, result=result, code=code, error=error)
        )
        if not execution.inline:
            self._leave_task(execution)
        if execution.parent is not None:
            self._node_ended(execution.parent, execution, status, result)

    def _leave_task(self, execution: Execution) -> None:
        task = execution.task
        task.active.pop(execution.id, None)
        if execution in task.queue:
            task.queue.remove(execution)
        if task.latest_id == execution.id:
            task.latest_status = execution.status.value
        self.memory.batch.activity.append(rows.activity(task, -1))
        self.let_next(task)

    def let_next(self, task: Task) -> None:
        """The first that waits for the task's active executions goes on, once none of them is left."""
        if not task.queue or len(task.queue) < len(task.active):
            return
        following = task.queue.popleft()
        following.waiting_for = "slot"
        if task.paused and following.trigger_type is TriggerType.SCHEDULE:
            task.held.append(following)
        else:
            self.proceed(following)

    def release(self, task: Task) -> None:
        """What a pause has held goes on."""
        held, task.held = task.held, []
        for execution in held:
            if self.memory.executions.get(execution.id) is execution:
                self.proceed(execution)

    def _node_ended(self, parent: Execution, child: Execution, status: Status, result: str | None) -> None:
        run = parent.run
        assert run is not None
        run.children.pop(child.node, None)
        name = run.plan.names[child.node]
        if name in run.wanted:
            run.results[name] = {"result": None if result is None else json.loads(result)}
        was_stopped = run.progress.stopped
        step = run.progress.finish(child.node, status)
        self._vacate(parent)
        self.follow(parent, step)
        if run.progress.stopped and not was_stopped:
            self._skip_unstarted(parent, run)
        self._finish_if_done(parent)

    def _skip_unstarted(self, parent: Execution, run: Run) -> None:
        """After a failure under `stop`: referenced tasks that still wait for their first attempt never get one."""
        workflow = parent.definition.workflow
        assert workflow is not None
        for child in list(run.children.values()):
            rule = workflow.nodes[child.node].trigger_rule
            if child.status is Status.PENDING and child.start_time is None and not survives_stop(rule):
                self._end(child, Status.SKIPPED, code="workflow_stopped", error="a node before it failed")

    def _vacate(self, parent: Execution) -> None:
        """A node's place under `max_parallel` is free: the next parked one takes it."""
        run = parent.run
        assert run is not None
        run.occupied -= 1
        while run.parked and run.occupied < run.max_parallel:
            node = run.parked.popleft()
            if run.progress.may_start(node):
                run.occupied += 1
                self._offer(parent, node)

    def _finish_if_done(self, execution: Execution) -> None:
        run = execution.run
        assert run is not None
        if not run.progress.finished:
            self._report(execution, run)
            return
        if execution.id not in self.memory.executions:
            return
        if execution.terminating is not None:
            self._end(
                execution,
                Status.TERMINATED,
                code=execution.terminating,
                error=_WHY_ENDED[execution.terminating],
            )
            return
        status = run.progress.outcome()
        total = len(run.plan)
        execution.percent = 100.0 * run.progress.succeeded / total if total else 100.0
        if status is Status.SUCCESS:
            self._end(execution, status)
        else:
            self._end(
                execution,
                status,
                code="nodes_failed",
                error=f"{run.progress.failures} of {total} nodes did not succeed",
            )

    def _report(self, execution: Execution, run: Run) -> None:
        """Write a workflow's progress, at most four times a second."""
        now = self.memory.clock.monotonic()
        if now - run.reported < PROGRESS_INTERVAL or not run.progress.settled:
            return
        run.reported = now
        total, settled = len(run.plan), run.progress.settled
        facts = {"percent": 100.0 * settled / total, "total_items": total, "processed_items": settled}
        self.memory.batch.progress.append(rows.progressed(self.memory, execution, facts))

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────

    def terminate(self, execution: Execution, why: str = "terminated") -> None:
        """End an execution and all below it. What runs is asked to; its outcome ends it."""
        if execution.terminating is not None:
            return
        execution.terminating = why
        if execution.run is not None:
            self._terminate_tree(execution, execution.run, why)
        elif execution.status is Status.PENDING:
            self._end(execution, Status.TERMINATED, code=why, error=_WHY_ENDED[why])
        else:
            self.memory.batch.requests.append(rows.requested(self.memory, execution))
            self.effects.terminate.append((execution, "terminated"))

    def _terminate_tree(self, execution: Execution, run: Run, why: str) -> None:
        self.memory.batch.requests.append(rows.requested(self.memory, execution))
        run.parked.clear()
        self.follow(execution, run.progress.abandon())
        for child in list(run.children.values()):
            self.terminate(child, why)
        self._finish_if_done(execution)

    def pause(self, execution: Execution) -> None:
        """Ask a running execution to stand still; its acknowledgement makes it `paused`."""
        execution.pausing = True
        self.memory.batch.requests.append(rows.requested(self.memory, execution))
        self.effects.pause.append(execution)

    def resume(self, execution: Execution) -> None:
        """Let a paused execution go on."""
        execution.pausing = False
        self.memory.batch.requests.append(rows.requested(self.memory, execution))
        self.effects.resume.append(execution)

    def acknowledged(self, execution: Execution, status: Status) -> None:
        """The backend says that an attempt stands still, or goes on."""
        if execution.status is status or status not in (Status.PAUSED, Status.RUNNING):
            return
        execution.status = advance(execution.status, status)
        self.memory.updates(execution).paused.append(rows.paused(self.memory, execution))
        self._note_latest(execution)

    def progressed(self, facts: dict[str, Any]) -> None:
        """Take one progress report of the backend."""
        execution = self.memory.executions.get(facts["id"])
        if execution is None:
            return
        if "percent" in facts:
            execution.percent = rows.percent(facts["percent"])
        self.memory.batch.progress.append(rows.progressed(self.memory, execution, facts))

    def _note_latest(self, execution: Execution) -> None:
        task = execution.task
        if task.latest_id == execution.id and not execution.inline:
            task.latest_status = execution.status.value
            self.memory.batch.activity.append(rows.activity(task, 0))


def _wanted(workflow: Workflow) -> frozenset[str]:
    """The nodes whose results others use; all of them where a template names nodes, for it may compute which."""
    for node in workflow.nodes:
        if node.action is not None and "nodes" in str(node.action.config.get("command", "")):
            return frozenset(other.name for other in workflow.nodes)
    return frozenset().union(*(referenced_nodes(node.arguments) for node in workflow.nodes if node.arguments))


_WHY_ENDED = {
    "terminated": "terminated by request",
    "workflow_timeout": "the workflow's time was over",
    "replaced": "replaced by a newer execution",
    "shutdown": "the server was stopped",
}
