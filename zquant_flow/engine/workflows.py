"""How does a workflow move on: which node starts now, what becomes of its children's ends, when is it over?

`core.progress` decides over plain numbers; this carries its decisions out on executions. What any execution goes through
(rows, slots, ends) is `lifecycle`, which is reached through `Steps`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from zquant_flow.core.estimates import Shares
from zquant_flow.core.expressions import compute, evaluate
from zquant_flow.core.fan import FanError
from zquant_flow.core.graph import Plan, plan_workflow
from zquant_flow.core.model import Action, Node, TaskDef, Workflow, overridden
from zquant_flow.core.params import fitted
from zquant_flow.core.progress import Progress, SkipReason, Step, survives_stop
from zquant_flow.core.references import referenced_nodes, resolve
from zquant_flow.core.status import Status, TriggerType, advance
from zquant_flow.definitions.templates import nodes_looked_into
from zquant_flow.engine import rows
from zquant_flow.engine.approvals import Approvals
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.fans import (
    DEFAULT_LIMIT,
    LARGEST,
    ReusableItems,
    ended_as,
    fan_of,
    gather,
    gathered,
    remains_of,
)
from zquant_flow.engine.large_results import Unread
from zquant_flow.engine.memory import UNBOUNDED, Execution, Filed, Memory, Result, Reused, Run, Task
from zquant_flow.engine.passing import before_commands
from zquant_flow.engine.scope import SessionDays, scope_of_call, scope_within, workflow_of
from zquant_flow.errors import ExpressionError, ZquantFlowError
from zquant_flow.store.durations import PastRuns
from zquant_flow.wording import say

PLANS_KEPT = 200
LARGE = 2000
"""A workflow of more nodes is planned beside the engine's thread."""
AT_ONCE = 1000
"""Decisions about nodes that one run has carried out in a turn: others wait for it."""

WHY_ENDED = {
    "terminated": "terminated by request",
    "workflow_timeout": "the workflow's time was over",
    "backfill_cancelled": "its backfill was cancelled before it started",
    "replaced": "replaced by a newer execution",
    "shutdown": "the server was stopped",
}
"""Why an execution was ended, in words, by the reason it was asked for."""


_Planned = tuple[Plan, frozenset[str], frozenset[str], frozenset[int]]
Reusable = Callable[[Execution, Plan], Sequence[Reused]]
"""Reads what a resumed workflow need not do again."""


class Steps(Protocol):
    """What an execution goes through, whatever it is."""

    def admit(self, execution: Execution, actor: str) -> None: ...
    def proceed(self, execution: Execution) -> None: ...
    def wait_for_others(self, execution: Execution) -> None: ...
    def start_row(self, child: Execution) -> None: ...
    def mark_running(self, execution: Execution) -> None: ...
    def occupy(self, execution: Execution) -> None: ...
    def doom(self, execution: Execution, code: str, error: str) -> None: ...
    def end(
        self,
        execution: Execution,
        status: Status,
        *,
        result: Result | None = None,
        code: str | None = None,
        error: str | None = None,
    ) -> None: ...
    def copy_result(self, result: Filed, execution_id: int) -> None: ...
    def skip(self, execution: Execution) -> None: ...
    def terminate(self, execution: Execution, why: str = ...) -> None: ...
    def pause(self, execution: Execution) -> None: ...
    def resume(self, execution: Execution) -> None: ...
    def go_on(self, execution: Execution) -> None: ...
    def acknowledged(self, execution: Execution, status: Status) -> None: ...
    def advanced(self, execution: Execution) -> None: ...
    def advanced_last(self, execution: Execution) -> None: ...


class Workflows:
    """The workflows under way. Owned by the engine's thread.

    `wake(seconds, what)` calls `what` in the engine's thread after so many seconds.
    """

    def __init__(
        self,
        memory: Memory,
        dispatcher: Dispatcher,
        steps: Steps,
        wake: Callable[[float, Callable[[], None]], None],
        reusable: Reusable,
    ) -> None:
        self._memory = memory
        self._dispatcher = dispatcher
        self._steps = steps
        self._wake = wake
        self._reusable = reusable
        self.approvals = Approvals(memory, steps, wake)
        self.session_days: SessionDays = lambda execution: {}
        """The trading sessions around an execution, for expressions."""
        self.past: Callable[[int, int, int], PastRuns] = lambda task_id, version, size: PastRuns({}, None)
        """How long a version of a workflow, of so many nodes, and its nodes took before."""
        self.aside: Callable[[Callable[[], object], Callable[[], None]], None] | None = None
        """Does what takes long outside of the engine's thread, then something inside of it; None where there is no other."""
        self.item_limit = DEFAULT_LIMIT
        """How many items a node may have."""
        self.reusable_items: ReusableItems = lambda execution, node, items: ()
        self.nested_before: Callable[[Execution], int | None] = lambda execution: None
        """The execution that a workflow within a resumed workflow goes on with."""
        self.read: Callable[[Filed], Filed] = lambda filed: filed
        """Reads a result that lies in a file, where nobody has done so beside the engine's thread."""
        self._plans: dict[tuple[int, int], _Planned] = {}
        self._planned_with = memory.takers
        self._begun: dict[int, tuple[Run, Step]] = {}
        """Runs that were made aside, with what they begin with."""
        self._behind: dict[int, Execution] = {}
        """Workflows with a backlog."""

    def new_run(self, execution: Execution, workflow: Workflow) -> Run:
        """The memory of a workflow's run, nothing started yet."""
        plan, wanted, named, before = self._plan(execution, workflow)
        progress = Progress(
            plan,
            [node.trigger_rule for node in workflow.nodes],
            workflow_type=workflow.workflow_type,
            on_failure=workflow.on_failure,
        )
        past = self.past(execution.task.id, execution.version, len(plan))
        return Run(
            plan=plan,
            nodes=workflow.nodes,
            progress=progress,
            shares=Shares.by_time(plan.names, past.nodes),
            max_parallel=workflow.max_parallel or UNBOUNDED,
            wanted=wanted,
            named=named,
            before_commands=before,
            usual=past.whole,
        )

    def fan_again(self, execution: Execution, begun: Mapping[int, str | None]) -> Run:
        """The memory of a node's items after a restart: of those that the node runs for; `begun`: params by number, from rows."""
        parent, workflow = execution.parent, execution.definition.workflow
        assert parent is not None and parent.run is not None and workflow is not None
        node = parent.run.nodes[execution.node]
        try:
            run = fan_of(workflow, node, scope_within(parent, self.session_days), UNBOUNDED)
        except (FanError, ZquantFlowError):  # a calendar that is not there any more, say
            return remains_of(workflow, node, begun)
        return run if len(run.plan) > max(begun, default=-1) else remains_of(workflow, node, begun)

    def _plan(self, execution: Execution, workflow: Workflow) -> _Planned:
        """Its plan, the nodes whose results others name, those that are looked into here, and those that commands wait for."""
        key = (execution.task.id, execution.version)
        if self._planned_with is not self._memory.takers:  # plugins have changed
            self._planned_with = self._memory.takers
            self._plans.clear()
        found = self._plans.get(key)
        if found is None:
            plan = plan_workflow(workflow)
            named = frozenset().union(*map(nodes_looked_into, workflow.nodes))
            takers = self._memory.takers
            found = plan, _wanted(workflow, named), named, before_commands(workflow, plan, takers)
            if len(self._plans) > PLANS_KEPT:
                self._plans.clear()
            self._plans[key] = found
        return found

    def _is_planned(self, execution: Execution, workflow: Workflow) -> bool:
        """Whether it can start at once; a large one is planned aside, and starts then, if it is still to."""
        known = (execution.task.id, execution.version) in self._plans
        if known or self.aside is None or len(workflow.nodes) <= LARGE:
            return True

        def planned() -> None:
            still = self._memory.executions.get(execution.id) is execution
            if still and execution.status is Status.PENDING and execution.engine is None:
                self._steps.proceed(execution)
            self._begun.pop(execution.id, None)

        self.aside(lambda: self._begin_aside(execution, workflow), planned)
        return False

    def _begin_aside(self, execution: Execution, workflow: Workflow) -> None:
        run = self.new_run(execution, workflow)
        if execution.resume_from is None:
            self._begun[execution.id] = run, run.progress.start()

    def start(self, execution: Execution, workflow: Workflow) -> None:
        if not self._is_planned(execution, workflow):
            return
        begun = self._begun.pop(execution.id, None)
        execution.run = begun[0] if begun is not None else self.new_run(execution, workflow)
        self._steps.mark_running(execution)
        if workflow.timeout is not None:
            self.watch(execution, workflow.timeout.total_seconds())
        if execution.resume_from is None:
            self.follow(execution, begun[1] if begun is not None else execution.run.progress.start())
        else:
            self.follow(execution, self._take_over(execution, execution.run))
        self._finish_if_done(execution)

    def _take_over(self, execution: Execution, run: Run) -> Step:
        """Begin where the execution before failed, or where one of its nodes is to run again: the others are as they were."""
        return self._reuse(execution, run, self._reusable(execution, run.plan))

    def _reuse(self, execution: Execution, run: Run, found: Sequence[Reused]) -> Step:
        """Write what is taken over, and begin with the rest."""
        for reused in found:
            row = rows.node_reused(self._memory, execution, reused)
            self._memory.batch.nodes_reused.append(row)
            result = reused.result
            if isinstance(result, Filed):
                self._steps.copy_result(result, row["id"])
                result = replace(result, execution_ids=(row["id"], *result.execution_ids))
            self.keep_result(run, reused.node, result)
            run.shares.end(reused.node)
        past = [(reused.node, seen_above(run.nodes[reused.node], reused.status)) for reused in found]
        return run.progress.restore((), (), past=past, free=freed(execution, run.plan))

    def go_on(self, execution: Execution, step: Step) -> None:
        """Go on with a workflow that was rebuilt from its rows; `step` is what was due besides them."""
        run = execution.run
        assert run is not None
        step.ready = [node for node in step.ready if run.progress.may_start(node)]
        self.follow(execution, step)
        self._finish_if_done(execution)

    def watch(self, execution: Execution, seconds: float) -> None:
        """Terminate the whole tree when its `workflow_timeout` is over."""

        def overdue() -> None:
            if self._memory.executions.get(execution.id) is execution:
                self._steps.terminate(execution, "workflow_timeout")

        self._wake(seconds, overdue)

    def follow(self, execution: Execution, step: Step) -> None:
        """Carry out what a workflow's progress says: queue the ready nodes, write the skipped ones; of many the first ones now.

        A condition that is not met makes a further step; a loop, where recursion would dive through a long workflow.
        """
        run = execution.run
        assert run is not None
        due, decided = deque([step]), 0
        while due:
            decided += len(due[0].skipped) + len(due[0].ready)
            if run.backlog or decided > AT_ONCE:
                self._put_off(execution, run, due)
                return
            step = due.popleft()
            for node, reason in step.skipped:
                self._skipped(execution, node, reason)
            for node in step.ready:
                if (further := self._ready(execution, run, node)) is not None:
                    due.append(further)

    def work_off(self) -> bool:
        """Carry out the next decisions of each workflow that has more than a turn's; whether some are left."""
        for execution in list(self._behind.values()):
            assert execution.run is not None
            self._work_off(execution, execution.run)
            self._finish_if_done(execution)
        return bool(self._behind)

    def forget(self) -> None:
        """No workflow is under way."""
        self._behind.clear()

    def _put_off(self, execution: Execution, run: Run, steps: Iterable[Step]) -> None:
        """Of so many decisions only the first ones are for this turn."""
        for step in steps:
            run.backlog.extend(step.skipped)
            run.backlog.extend((node, None) for node in step.ready)
        if execution.id not in self._behind:
            self._behind[execution.id] = execution
            self._work_off(execution, run)

    def _work_off(self, execution: Execution, run: Run) -> None:
        for _ in range(AT_ONCE):
            if not run.backlog:
                break
            node, reason = run.backlog.popleft()
            if reason is not None:
                self._skipped(execution, node, reason)
            elif run.progress.may_start(node) and (further := self._ready(execution, run, node)) is not None:
                self._put_off(execution, run, [further])
        if not run.backlog:
            self._behind.pop(execution.id, None)

    def _skipped(self, execution: Execution, node: int, reason: SkipReason) -> None:
        assert execution.run is not None
        execution.run.shares.end(node)
        self._memory.batch.nodes_skipped.append(
            rows.node_skipped(self._memory, execution, node, reason.value)
        )

    def _ready(self, execution: Execution, run: Run, node: int) -> Step | None:
        """Start a node, or let it wait for what holds it back; what follows where its condition is not met."""
        if run.paused:
            run.held.append(node)
        elif (skipped := self._passed_over(execution, node)) is not None:
            return skipped
        elif not takes_place(run, node):
            self.approvals.ask(
                self._child(execution, node, execution.task, execution.definition, None), self.session_days
            )
        elif run.occupied >= run.max_parallel:
            run.parked.append(node)
        else:
            run.occupied += 1
            self._offer(execution, node)
        return None

    def _passed_over(self, execution: Execution, node: int) -> Step | None:
        """What follows where a node's condition is not met, or can't be told: then it fails. None where it may start."""
        run = execution.run
        assert run is not None
        condition = run.nodes[node].when
        if condition is None:
            return None
        try:
            if evaluate(condition, scope_within(execution, self.session_days)):
                return None
        except ExpressionError as error:
            run.occupied += takes_place(run, node)
            child = self._child(execution, node, execution.task, execution.definition, None)
            self._steps.start_row(child)
            self._steps.doom(child, "when_failed", say("when: {error}", error=error.detail))
            return Step()
        return run.progress.skip(node, SkipReason.WHEN)

    def _offer(self, execution: Execution, node: int) -> None:
        """A node is ready: queue it for a slot, or make the execution of the task it refers to, or those of its items."""
        assert execution.run is not None
        definition = execution.run.nodes[node]
        if definition.for_each is not None:
            self._begin_fan(execution, node, definition)
        elif definition.task is not None:
            self._begin_reference(execution, node, definition.task, definition)
        else:
            assert definition.action is not None
            action = definition.action
            self._dispatcher.add(execution, node, action.priority, action.pool)

    def _begin_fan(self, parent: Execution, node: int, definition: Node) -> None:
        """Run it for each of its items. Without any it ends with the next look at what is behind: here it would recurse."""
        workflow = parent.definition.workflow
        assert workflow is not None
        child = self._child(parent, node, parent.task, parent.definition, None)
        self._steps.start_row(child)
        try:
            run = fan_of(workflow, definition, scope_within(parent, self.session_days), self.item_limit)
        except FanError as error:
            self._steps.doom(child, error.code, error.detail)
            return
        except ZquantFlowError as error:
            self._steps.doom(child, "for_each_failed", error.detail)
            return
        child.run = run
        if parent.resume_from is None:
            step = run.progress.start()
        else:
            step = self._reuse(child, run, self.reusable_items(parent, node, run.items or ()))
        if run.progress.finished:
            self._behind[child.id] = child
        self.follow(child, step)

    def _begin_reference(self, parent: Execution, node: int, name: str, definition: Node) -> None:
        assert parent.run is not None
        task = self._memory.by_name.get(name)
        if task is None:
            child = self._child(parent, node, parent.task, parent.definition, None)
            self._steps.start_row(child)
            self._steps.doom(
                child, "task_missing", f"the node refers to task {name!r}, which is not registered"
            )
            return
        action = task.definition.action
        if action is not None:
            action = overridden(action, definition.overrides)
        child = self._child(parent, node, task, task.definition, action)
        child.params = {**task.definition.params, **parent.params}
        self._steps.admit(child, "workflow")
        if not self._give_arguments(child, definition.arguments):
            return
        if child.definition.workflow is not None:
            assert child.row is not None
            child.resume_from = child.row["resume_from_execution_id"] = self.nested_before(child)
        if _is_one_too_many(child, parent.run):
            self._steps.wait_for_others(child)
        else:
            self._steps.proceed(child)

    def _child(
        self, parent: Execution, node: int, task: Task, definition: TaskDef, action: Action | None
    ) -> Execution:
        assert parent.run is not None
        child = Execution(
            id=self._memory.new_id(),
            task=task,
            version=parent.version if task is parent.task else task.version,
            definition=definition,
            action=action,
            trigger_type=TriggerType.WORKFLOW,
            parent=parent,
            node=node,
            logical_time=parent.logical_time,
            params=parent.params,
            created_time=self._memory.now,
        )
        parent.run.progress.began(node)
        parent.run.children[node] = child
        return child

    def _give_arguments(self, child: Execution, arguments: Mapping[str, Any]) -> bool:
        """Resolve what the node is called with; a value that is not there fails the node. An item is a param, too."""
        specs = {} if child.inline else child.definition.param_specs
        parent = child.parent
        assert parent is not None and parent.run is not None
        items = parent.run.items
        if not arguments and not specs and items is None:
            return True
        item = {} if items is None else {"item": items[child.node]}
        try:
            if arguments:
                scope = scope_of_call(parent, child.node, self.session_days)
                arguments = resolve(arguments, scope, compute, _left_to_its_attempt(child, parent))
            child.params = fitted(specs, {**child.params, **item, **arguments})
            assert child.row is not None
            child.row["params"] = rows.json_text(child.params)
        except ZquantFlowError as error:
            self._steps.doom(child, "invalid_params", str(error))
            return False
        return True

    def start_node(self, parent: Execution, node: int) -> None:
        run = parent.run
        assert run is not None
        if not run.progress.may_start(node):
            self._vacate(parent)
            return
        if run.paused:
            run.occupied -= 1
            run.held.append(node)
            return
        definition = run.nodes[node]
        child = self._child(parent, node, parent.task, parent.definition, definition.action)
        self._steps.start_row(child)
        if self._give_arguments(child, definition.arguments):
            self._steps.occupy(child)

    def node_ended(self, parent: Execution, child: Execution, status: Status, result: Result | None) -> None:
        run = parent.run
        assert run is not None
        run.children.pop(child.node, None)
        self.keep_result(run, child.node, result)
        run.shares.end(child.node)
        was_stopped = run.progress.stopped
        status = seen_above(run.nodes[child.node], status)
        step = run.progress.finish(child.node, status)
        if takes_place(run, child.node):
            self._vacate(parent)
        self.follow(parent, step)
        if run.progress.stopped and not was_stopped and parent.terminating is None:
            self._skip_unstarted(parent, run)
        self._finish_if_done(parent)

    def keep_result(self, run: Run, node: int, result: Result | None) -> None:
        """Keep what a node has given, for those that take it."""
        if isinstance(result, Filed) and looks_into(run, node):
            result = self.read(result)
        if run.items is not None:
            gather(run, node, result)
            return
        if result is not None and node in run.before_commands:
            run.passed[node] = replace(result, text=None) if isinstance(result, Filed) else result
        if not run.wanted or (name := run.plan.names[node]) not in run.wanted:
            return
        if isinstance(result, Filed):
            run.filed[name] = replace(result, text=None)
            if result.text is None:
                run.results[name] = Unread(name, result)
                return
            result = result.text
        run.results[name] = {"result": None if result is None else json.loads(result)}

    def _skip_unstarted(self, parent: Execution, run: Run) -> None:
        """After a failure under `stop`: referenced tasks that still wait for their first attempt never get one."""
        for child in list(run.children.values()):
            if not survives_stop(run.nodes[child.node].trigger_rule):
                self._steps.skip(child)

    def _vacate(self, parent: Execution) -> None:
        """A node's place under `max_parallel` is free: the next parked one takes it."""
        run = parent.run
        assert run is not None
        run.occupied -= 1
        self._fill(parent, run)

    def _fill(self, parent: Execution, run: Run) -> None:
        while run.parked and run.occupied < run.max_parallel and not run.paused:
            node = run.parked.popleft()
            if run.progress.may_start(node):
                run.occupied += 1
                self._offer(parent, node)

    def _finish_if_done(self, execution: Execution) -> None:
        run = execution.run
        assert run is not None
        if not run.progress.finished or run.backlog:
            if run.progress.settled:
                self._steps.advanced(execution)
            return
        if execution.id not in self._memory.executions:
            return
        if run.progress.settled:
            self._steps.advanced_last(execution)
        if execution.terminating is not None:
            self._steps.end(
                execution,
                Status.TERMINATED,
                code=execution.terminating,
                error=WHY_ENDED[execution.terminating],
            )
            return
        if execution.status is Status.PAUSED:  # what ran could not stand still, and nothing is left
            execution.status = advance(Status.PAUSED, Status.RUNNING)
        self._end(execution, run)

    def _end(self, execution: Execution, run: Run) -> None:
        is_fan = run.items is not None
        status = ended_as(run) if is_fan else run.progress.outcome()
        total, failures = len(run.plan), run.progress.failures
        execution.percent = 100.0 * run.progress.succeeded / total if total else 100.0
        result = gathered(run) if is_fan else None
        if status is Status.SUCCESS:
            self._steps.end(execution, status, result=result)
            return
        what, code = ("items", "items_failed") if is_fan else ("nodes", "nodes_failed")
        error = f"{failures} of {total} {what} did not succeed"
        if run.gathered_fault is not None and not failures:
            code, error = "result_missing", run.gathered_fault
        elif is_fan and not failures:
            code = "result_too_large"
            error = say(
                "the results of the items have together more than {limit} characters as JSON: store them, return where they are",
                limit=LARGEST,
            )
        self._steps.end(execution, status, result=result, code=code, error=error)

    def progress_of(self, execution: Execution) -> tuple[float, float | None, dict[str, Any]]:
        """How far a workflow is: its share by weight, which never falls; how long it usually takes; and what to write."""
        run = execution.run
        assert run is not None
        under_way = ((node, child.percent) for node, child in run.children.items() if child.percent)
        percent = max(execution.percent or 0.0, 100.0 * run.shares.share(under_way))
        execution.percent = percent
        total, settled = len(run.plan), run.progress.settled
        facts = {"percent": percent, "total_items": total, "processed_items": settled}
        return percent / 100, run.usual, facts

    def stalls(self, execution: Execution) -> bool:
        """Whether it has to wait because the workflow around it is paused; it goes on with that one."""
        parent = execution.parent
        if parent is None or parent.run is None or not parent.run.paused:
            return False
        parent.run.stalled.append(execution)
        return True

    def pause(self, execution: Execution, run: Run) -> None:
        """Start no node any more, and ask those that run to stand still (SEMANTICS §8.8)."""
        run.paused = True
        self._steps.acknowledged(execution, Status.PAUSED)
        for child in list(run.children.values()):
            if (child.status is Status.RUNNING or child.engine is not None) and not child.pausing:
                self._steps.pause(child)

    def resume(self, execution: Execution, run: Run) -> None:
        """Go on with all that was held."""
        run.paused = False
        self._steps.acknowledged(execution, Status.RUNNING)
        for child in list(run.children.values()):
            if child.status is Status.PAUSED or child.pausing:
                self._steps.resume(child)
        held, run.held = run.held, []
        self.follow(execution, Step(ready=[node for node in held if run.progress.may_start(node)]))
        self._fill(execution, run)
        stalled, run.stalled = run.stalled, []
        for child in stalled:
            if self._memory.executions.get(child.id) is child:
                self._steps.go_on(child)
        self._finish_if_done(execution)

    def terminate(self, execution: Execution, run: Run, why: str) -> None:
        self._memory.batch.requests.append(rows.requested(self._memory, execution))
        run.parked.clear()
        run.held.clear()
        self.follow(execution, run.progress.abandon())
        for child in list(run.children.values()):
            self._steps.terminate(child, why)
        self._finish_if_done(execution)


def looks_into(run: Run, node: int) -> bool:
    """Whether what a node gives must be known here, and not only to those that take it."""
    return run.items is not None or run.plan.names[node] in run.named


def _left_to_its_attempt(child: Execution, parent: Execution) -> Collection[str]:
    """The nodes whose large results a function takes as they are: it reads them from their files."""
    run = workflow_of(parent).run
    itself = child.inline and child.action is not None and child.action.executor != "command"
    return run.filed if itself and run is not None else ()


def _is_one_too_many(child: Execution, run: Run) -> bool:
    """Whether it has to wait for others of its task. Items of one node don't wait for each other, unless that task says so."""
    task = child.task
    others = len(task.active) - 1
    if run.items is not None and task.definition.max_active_runs is None:
        others = len(task.active) - run.occupied
    return others >= task.limit


def takes_place(run: Run, node: int) -> bool:
    """Whether a node takes one of its workflow's `max_parallel` places: all do but those that wait for an answer."""
    return run.nodes[node].approval is None or run.nodes[node].for_each is not None


def freed(execution: Execution, plan: Plan) -> int | None:
    """The node that it was made to run again, whatever the node's rule says."""
    rerun = execution.rerun
    return None if rerun is None else plan.index(rerun.node)


def seen_above(node: Node, status: Status) -> Status:
    """How a node has ended, as its workflow takes it."""
    return Status.FAILED if status is Status.COMPLETED and node.fail_on_partial else status


def _wanted(workflow: Workflow, named: frozenset[str]) -> frozenset[str]:
    """The nodes whose results others use: those that are looked into, and those that functions take as they are."""
    return named.union(*(referenced_nodes(node.arguments) for node in workflow.nodes if node.arguments))
