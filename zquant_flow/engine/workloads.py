"""What does a task ask of slots and pools, and for how long, as far as its past tells?

A workflow is taken as one block: as wide as its nodes' work over its length. Where nothing is known an execution, and each
node of a workflow, counts a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from zquant_flow.core.graph import plan_workflow
from zquant_flow.core.model import Overlap, TaskDef, Workflow, WorkflowType
from zquant_flow.core.schedule import Timetable
from zquant_flow.core.waits import On
from zquant_flow.core.workload import Work
from zquant_flow.definitions.registry import node_pool
from zquant_flow.engine.events import waited_for, within_of
from zquant_flow.store.durations import Past

ASSUMED_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A task, and what its executions took; `nodes` by name."""

    task_id: int
    definition: TaskDef
    past: Past | None
    nodes: Mapping[str, float]


def works_of(known: Sequence[Known], tables: Mapping[int, Timetable]) -> list[Work]:
    """The work of each, in the same order; `tables` of those that have a schedule, by id."""
    by_name = {one.definition.name: one for one in known}
    return [_work(one, tables.get(one.task_id), by_name) for one in known]


def _work(known: Known, table: Timetable | None, others: Mapping[str, Known]) -> Work:
    definition, workflow = known.definition, known.definition.workflow
    if workflow is None:
        length, slots = ASSUMED_SECONDS, 1
        pool = definition.action.pool if definition.action is not None else None
        pools: tuple[tuple[str, int], ...] = () if pool is None else ((pool, 1),)
    else:
        length, slots, pools = _block(workflow, known, others)
    past = known.past or Past(length, length)
    after = definition.after
    listens = after is None or after.on is not On.FAILURE  # here nothing fails
    return Work(
        task_id=known.task_id,
        name=definition.name,
        table=table,
        usual=_micros(past.median),
        slow=_micros(past.p95),
        slots=slots,
        pools=pools,
        overlap=definition.overlap,
        limit=None if definition.overlap is Overlap.ALLOW else definition.max_active_runs or 1,
        priority=definition.action.priority if definition.action is not None else 0,
        within=_span(definition.expected_within),
        waits_for=waited_for(definition) if listens else (),
        waits_within=within_of(definition),
        gives=tuple(_given(definition, others)),
    )


def _block(
    workflow: Workflow, known: Known, others: Mapping[str, Known]
) -> tuple[float, int, tuple[tuple[str, int], ...]]:
    """Its length where no run of it is known, the slots that it takes all along, and its places in pools."""
    seconds = [known.nodes.get(node.name) or _of_reference(node.task, others) for node in workflow.nodes]
    total = sum(seconds)
    most = 1 if workflow.workflow_type is WorkflowType.SERIAL else workflow.max_parallel or len(seconds)
    shortest = max(_longest_path(workflow, seconds), total / max(1, most))
    length = known.past.median if known.past is not None else shortest
    in_pools: dict[str, float] = {}
    for node, taken in zip(workflow.nodes, seconds, strict=True):
        pool = node_pool(node) or _pool_of(node.task, others)
        if pool is not None:
            in_pools[pool] = in_pools.get(pool, 0.0) + taken
    slots = _width(total, length, most)
    return length, slots, tuple((pool, _width(taken, length, slots)) for pool, taken in in_pools.items())


def _longest_path(workflow: Workflow, seconds: Sequence[float]) -> float:
    plan = plan_workflow(workflow)
    ends = [0.0] * len(plan)
    for node in plan.order:
        ends[node] = seconds[node] + max((ends[before] for before in plan.dependencies[node]), default=0.0)
    return max(ends, default=0.0)


def _width(work: float, length: float, most: int) -> int:
    """How many places the work takes on average while the workflow runs; at least one."""
    return min(max(1, most), max(1, round(work / length))) if length else 1


def _of_reference(name: str | None, others: Mapping[str, Known]) -> float:
    other = others.get(name or "")
    return other.past.median if other is not None and other.past is not None else ASSUMED_SECONDS


def _pool_of(name: str | None, others: Mapping[str, Known]) -> str | None:
    other = others.get(name or "")
    action = other.definition.action if other is not None else None
    return action.pool if action is not None else None


def _given(definition: TaskDef, others: Mapping[str, Known]) -> list[str]:
    """The signals of its end, and of the tasks that its nodes refer to, which end with it here."""
    ends = [definition]
    for node in definition.workflow.nodes if definition.workflow is not None else ():
        if node.task is not None and node.task in others:
            ends.append(others[node.task].definition)
    found = [f"task:{ended.name}" for ended in ends]
    return [*found, *(f"data:{name}" for ended in ends for name in ended.produces)]


def _micros(seconds: float) -> int:
    return max(1, int(seconds * 1e6))


def _span(span: timedelta | None) -> int | None:
    return None if span is None else span // timedelta.resolution
