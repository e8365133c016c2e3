"""What did the engine before leave, and how does it go on?

The rows say what was under way; the runner says what still is. Whatever runs nowhere any more is a lost attempt: tried
again where a retry is left, else ended. No execution stays as it is for ever (the origin's fault 12).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zquant_flow.core.approval import APPROVAL
from zquant_flow.core.progress import Step
from zquant_flow.core.status import FINAL, Status
from zquant_flow.engine.deferring import CHECK
from zquant_flow.engine.large_results import result_of_row
from zquant_flow.engine.lifecycle import Lifecycle
from zquant_flow.engine.memory import Execution, Memory, Run
from zquant_flow.engine.remembering import Remembering
from zquant_flow.engine.workflows import freed, seen_above, takes_place
from zquant_flow.store import queries
from zquant_flow.store.database import Database


def recover(
    database: Database,
    memory: Memory,
    lifecycle: Lifecycle,
    *,
    alive: Iterable[tuple[int, int]],
    outcomes: Iterable[dict[str, Any]],
    note_elsewhere: Callable[[Execution, int], None] | None = None,
    leads: bool = True,
) -> int:
    """Rebuild what is under way; returns how many executions were found.

    `alive`: (execution, attempt) that the runner carries; `outcomes`: those it kept for us. With `note_elsewhere` the database
    is shared: what another engine drives is only remembered, and one that does not lead looks at what it was handed alone.
    """
    return _Recovery(database, memory, lifecycle, note_elsewhere, leads).run(set(alive), list(outcomes))


class _Recovery:
    def __init__(
        self,
        database: Database,
        memory: Memory,
        lifecycle: Lifecycle,
        note_elsewhere: Callable[[Execution, int], None] | None,
        leads: bool,
    ) -> None:
        self._database = database
        self._memory = memory
        self._lifecycle = lifecycle
        self._note_elsewhere = note_elsewhere
        self._leads = leads
        self._remembering = Remembering(database, memory)
        self._elsewhere: list[Execution] = []
        self._steps: dict[int, Step] = {}
        self._waiting_until: dict[int, int] = {}

    def run(self, alive: set[tuple[int, int]], outcomes: list[dict[str, Any]]) -> int:
        executions: dict[int, Execution] = {}
        if self._leads:
            trees = queries.unfinished_trees(self._database)
        else:
            trees = queries.handed_trees(self._database, self._memory.engine_id)
        for tree in trees:
            self._rebuild(tree, executions)
        reported = {(outcome["id"], outcome["attempt"]) for outcome in outcomes}
        told = {
            id_
            for id_, attempt in reported
            if id_ in executions and _attempt(executions[id_]) == (id_, attempt)
        }
        carried = alive | reported
        for execution in executions.values():
            if _attempt(execution) in carried and execution.status in (Status.RUNNING, Status.PAUSED):
                self._lifecycle.dispatcher.occupy(execution)
        for execution in executions.values():
            if execution.status is Status.PENDING and execution.waiting_for == "overlap":
                execution.task.queue.append(execution)
        for execution in (*executions.values(), *self._elsewhere):
            self._lifecycle.watch_deadline(execution)
        self._restore_backfills([*executions.values(), *self._elsewhere])
        for execution in list(executions.values()):
            self._continue_workflow(execution)
        for outcome in outcomes:
            self._lifecycle.take_outcome(outcome)
        for execution in list(executions.values()):
            untold = _attempt(execution) not in reported and execution.id not in told
            if untold and execution.id in self._memory.executions and execution.run is None:
                self._go_on(execution, alive)
        for task in {execution.task.id: execution.task for execution in executions.values()}.values():
            self._lifecycle.let_next(task)
        for number in self._lifecycle.backfills.numbers():
            self._lifecycle.backfills.go_on(number)
        return len(trees)

    def _restore_backfills(self, executions: Iterable[Execution]) -> None:
        of_backfills = [execution for execution in executions if execution.backfill is not None]
        parallel = queries.parallel_of(self._database, {execution.backfill for execution in of_backfills})
        for execution in sorted(of_backfills, key=lambda execution: execution.id):
            self._lifecycle.backfills.restore(execution, parallel.get(execution.backfill or 0, 1))

    def _rebuild(self, tree: list[Any], executions: dict[int, Execution]) -> None:
        """The executions of one tree that have not ended, parents before children."""
        children: dict[int, list[Any]] = {}
        for row in tree:
            if row.parent_execution_id is not None:
                children.setdefault(row.parent_execution_id, []).append(row)
        pending: list[tuple[Any, Execution | None]] = [(tree[0], None)]
        while pending:
            row, parent = pending.pop()
            execution = self._execution(row, parent)
            self._memory.executions[execution.id] = execution
            if not execution.inline:
                execution.task.remember(execution)
            if self._is_elsewhere(row, execution):
                continue
            executions[execution.id] = execution
            below = children.get(row.id, [])
            if execution.status is Status.PENDING or not self._rebuild_run(execution, below):
                continue
            pending += [(child, execution) for child in below if Status(child.status) not in FINAL]

    def _execution(self, row: Any, parent: Execution | None) -> Execution:
        if parent is None and not self._leads:
            execution = self._remembering.handed(row)
        else:
            execution = self._remembering.execution(row, parent)
        if row.waiting_until is not None:
            self._waiting_until[row.id] = row.waiting_until
        return execution

    def _is_elsewhere(self, row: Any, execution: Execution) -> bool:
        """Whether another engine drives it: of that one is only remembered that it is active."""
        if self._note_elsewhere is None or row.owner == self._memory.engine_id:
            return False
        self._note_elsewhere(execution, row.owner)
        self._elsewhere.append(execution)
        return True

    def _rebuild_run(self, execution: Execution, below: list[Any]) -> bool:
        """Remember what goes on below it; False where nothing can."""
        run = execution.run = self._run_of(execution, below)
        if run is None:
            return False
        run.paused = execution.status is Status.PAUSED
        ended: list[tuple[int, Status]] = []
        past: list[tuple[int, Status]] = []
        started: list[int] = []
        for row in below:
            node = run.plan.index(row.node)
            assert node is not None
            if Status(row.status) not in FINAL:
                started.append(node)
                continue
            as_seen = node, seen_above(run.nodes[node], Status(row.status))
            (ended if row.reused_from is None else past).append(as_seen)
            run.shares.end(node)
            self._lifecycle.workflows.keep_result(run, node, result_of_row(row))
        run.occupied = sum(takes_place(run, node) for node in started)
        self._steps[execution.id] = run.progress.restore(
            ended, started, past=past, free=freed(execution, run.plan)
        )
        return True

    def _run_of(self, execution: Execution, below: list[Any]) -> Run | None:
        workflows, workflow = self._lifecycle.workflows, execution.definition.workflow
        if not execution.inline:
            return None if workflow is None else workflows.new_run(execution, workflow)
        above = execution.parent.run if execution.parent is not None else None
        if above is None or above.nodes[execution.node].for_each is None:
            return None
        return workflows.fan_again(execution, {_number(row.node): row.params for row in below})

    def _continue_workflow(self, execution: Execution) -> None:
        step = self._steps.pop(execution.id, None)
        workflow = execution.definition.workflow
        if step is None or workflow is None or execution.id not in self._memory.executions:
            return
        if workflow.timeout is not None and not execution.inline:
            passed = self._memory.clock.monotonic() - execution.started_monotonic
            self._lifecycle.workflows.watch(execution, max(0.0, workflow.timeout.total_seconds() - passed))
        if execution.terminating is not None:
            step.ready.clear()  # nothing of it begins any more
        self._lifecycle.workflows.go_on(execution, step)
        if execution.terminating is not None:
            execution.terminating = None
            self._lifecycle.terminate(execution)

    def _go_on(self, execution: Execution, alive: set[tuple[int, int]]) -> None:
        """One that reported nothing: a pending one waits on, a running one is carried still or has lost its attempt."""
        if execution.status is Status.PENDING:
            self._wait_on(execution)
            return
        if _attempt(execution) in alive:
            if execution.terminating is not None:
                self._lifecycle.effects.terminate.append((execution, "terminated"))
            elif execution.pausing:
                self._lifecycle.effects.pause.append(execution)
            return
        self._lifecycle.dispatcher.occupy(execution)
        self._lifecycle.lost(execution, "the process that carried it is gone")

    def _wait_on(self, execution: Execution) -> None:
        if execution.waiting_for in ("overlap", "backfill"):
            return
        if execution.waiting_for == APPROVAL:
            self._lifecycle.workflows.approvals.await_answer(execution, self._waiting_until.get(execution.id))
        elif execution.waiting_for in ("retry", "shutdown", "jitter", CHECK):
            until = self._waiting_until.get(execution.id) or self._memory.now
            self._lifecycle.wait_until(execution, max(0.0, (until - self._memory.now) / 1e6))
        elif execution.definition.workflow is not None and not execution.inline:
            self._lifecycle.proceed(execution)
        else:
            self._lifecycle.requeue(execution)


def _number(node: str) -> int:
    """The number of an item in the name of its execution: `load[12]`."""
    return int(node[node.rindex("[") + 1 : -1])


def _attempt(execution: Execution) -> tuple[int, int]:
    return execution.id, execution.retry_count + 1
