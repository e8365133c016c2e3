"""What does an engine's memory know of an execution, or of a node that has not begun, that its rows don't say?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from zquant_flow.core.model import WorkflowType
from zquant_flow.core.progress import READY, SKIPPED, WAITING
from zquant_flow.core.status import Status
from zquant_flow.definitions.registry import node_pool
from zquant_flow.engine.backfills import WAITING as IN_BACKFILL
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.memory import Execution, Memory, Run
from zquant_flow.engine.pools import Pools, Standing

SHOWN = 10
"""So many are named one by one."""


class Place(StrEnum):
    """Where a node stands that has no execution yet."""

    DEPENDENCIES = "dependencies"
    PAUSED = "paused"
    MAX_PARALLEL = "max_parallel"
    SERIAL = "serial"
    QUEUED = "queued"
    DECIDED = "decided"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A node that matters to another, with its status and, where it has one, its execution."""

    name: str
    status: str
    execution_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Of an execution that has not ended."""

    slots: tuple[int, int]
    engine: int | None = None
    """The other engine that drives it."""
    pool: Standing | None = None
    ahead: int | None = None
    """So many start before it, where it waits for a slot."""
    others: Sequence[int] = ()
    """The executions that have to end before it may begin."""
    held: bool = False
    """Its task is paused, and it would have gone on."""
    paused_above: int | None = None
    """The workflow around it that is paused."""
    under_way: Sequence[Named] = ()
    """Of a workflow: the nodes that have begun and not ended."""
    unstopped: Sequence[Named] = ()
    """Of a paused workflow: those that do not stand still yet."""
    unstarted: int = 0
    """Of a workflow: how many nodes have neither begun nor been skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSituation:
    """Of a node of a workflow under way that has no execution."""

    place: Place
    slots: tuple[int, int]
    missing: Sequence[Named] = ()
    """What it waits for: its dependencies, or those that run in its stead."""
    pool: Standing | None = None
    ahead: int | None = None
    limit: int = 0
    """The workflow's `max_parallel`."""


class Situations:
    """The look into the memory. Owned by the engine's thread."""

    def __init__(self, memory: Memory, dispatcher: Dispatcher, pools: Pools) -> None:
        self._memory = memory
        self._dispatcher = dispatcher
        self._pools = pools

    def of(self, execution_id: int) -> Situation | None:
        """None of one that is not in memory: it has ended, or nobody drives it."""
        execution = self._memory.executions.get(execution_id)
        if execution is None:
            return None
        pool = execution.action.pool if execution.action is not None else None
        run, parent = execution.run, execution.parent
        paused = parent is not None and parent.run is not None and parent.run.paused
        return Situation(
            slots=(self._dispatcher.running, self._dispatcher.slots),
            engine=execution.engine,
            pool=self._pools.standing(pool, [execution_id]) if pool is not None else None,
            ahead=self._dispatcher.ahead_of(execution),
            others=self._others(execution),
            held=execution in execution.task.held,
            paused_above=parent.id if parent is not None and paused else None,
            under_way=_named(run) if run is not None else (),
            unstopped=_unstopped(run) if run is not None and run.paused else (),
            unstarted=sum(state <= READY for state in run.progress.state) if run is not None else 0,
        )

    def of_node(self, execution_id: int, name: str) -> NodeSituation | None:
        """Of a node by name; None where its workflow is not under way here, or has no such node without an execution."""
        execution = self._memory.executions.get(execution_id)
        run = execution.run if execution is not None else None
        node = run.plan.index(name) if run is not None else None
        if execution is None or run is None or node is None:
            return None
        place = self._place(execution, run, node)
        pool = node_pool(run.nodes[node])
        serial = place is Place.SERIAL or place is Place.MAX_PARALLEL
        return NodeSituation(
            place=place,
            slots=(self._dispatcher.running, self._dispatcher.slots),
            missing=_named(run) if serial else _missing(run, node),
            pool=self._pools.standing_of_node(pool, execution, node) if pool is not None else None,
            ahead=self._dispatcher.ahead_of(execution, node),
            limit=run.max_parallel,
        )

    def _place(self, execution: Execution, run: Run, node: int) -> Place:
        state = run.progress.state[node]
        workflow = execution.definition.workflow
        if state == WAITING:
            return Place.DEPENDENCIES
        if state != READY:
            return Place.OVER
        if run.paused:
            return Place.PAUSED
        if node in run.parked:
            return Place.MAX_PARALLEL
        if self._dispatcher.ahead_of(execution, node) is not None:
            return Place.QUEUED
        is_serial = workflow is not None and workflow.workflow_type is WorkflowType.SERIAL
        return Place.SERIAL if is_serial and run.children else Place.DECIDED

    def _others(self, execution: Execution) -> Sequence[int]:
        if execution.waiting_for == "overlap":
            task = execution.task
            return [id_ for id_, other in task.active.items() if other not in task.queue]
        if execution.waiting_for == IN_BACKFILL:
            return [
                id_
                for id_, other in execution.task.backfilled.items()
                if other.backfill == execution.backfill and other.waiting_for != IN_BACKFILL
            ]
        return ()


def _named(run: Run) -> list[Named]:
    return [
        Named(name=run.plan.names[node], status=child.status.value, execution_id=child.id)
        for node, child in run.children.items()
    ]


def _unstopped(run: Run) -> list[Named]:
    return [named for named in _named(run) if named.status == Status.RUNNING]


def _missing(run: Run, node: int) -> list[Named]:
    """The dependencies that have not ended."""
    found = []
    for earlier in run.plan.dependencies[node]:
        if run.progress.state[earlier] >= SKIPPED:
            continue
        child = run.children.get(earlier)
        found.append(
            Named(
                name=run.plan.names[earlier],
                status=Status.PENDING.value if child is None else child.status.value,
                execution_id=None if child is None else child.id,
            )
        )
    return found
