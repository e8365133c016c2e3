"""Why does an execution run, wait, or why did it end as it did? Facts in, reasons out; the first one is the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zquant_flow.core.model import Node, TaskDef
from zquant_flow.core.progress import SkipReason as Passed
from zquant_flow.core.status import Status
from zquant_flow.engine.explain import PENDING, Reason, pool_is_full, shown
from zquant_flow.engine.situations import SHOWN, Named, NodeSituation, Place, Situation
from zquant_flow.wording import Message, joined, say


def explain_execution(
    row: Any,
    definition: TaskDef,
    *,
    situation: Situation | None,
    attempts: Sequence[Any],
    nodes: Sequence[Named],
    node: Node | None = None,
) -> list[Reason]:
    """The reasons, most telling first; at least one.

    `definition`: of its task; `situation`: None of one that is in no engine's memory; `attempts`: those that have ended;
    `nodes`: of an ended workflow those that did not succeed, of a skipped node its dependencies; `node`: what it is in its
    workflow.
    """
    status = Status(row.status)
    if status is Status.PENDING:
        found = list(_pending(row, situation, attempts))
    elif status is Status.RUNNING:
        found = list(_running(row, definition, situation, node))
    elif status is Status.PAUSED:
        found = list(_paused(row, situation))
    elif status is Status.SKIPPED:
        found = [_skipped(row, node, nodes)]
    else:
        found = list(_ended(row, status, attempts, nodes))
    if row.deadline_missed:
        detail = say("it should have ended by {instant}", instant=shown(row.deadline))
        found.append(Reason(code="deadline_missed", detail=detail))
    return found


def explain_node(node: Node, situation: NodeSituation) -> list[Reason]:
    """Why a node of a workflow under way has not begun."""
    place = situation.place
    if place is Place.DEPENDENCIES:
        names = _listed(situation.missing)
        detail = say("node {node!r} waits for {nodes}", node=node.name, nodes=names)
        return [Reason(code="waiting_for_nodes", detail=detail)]
    if place is Place.PAUSED:
        detail = say("node {node!r} begins when its workflow is resumed", node=node.name)
        return [Reason(code="workflow_paused", detail=detail)]
    if place is Place.MAX_PARALLEL:
        detail = say(
            "node {node!r} waits for a place: `max_parallel` is {limit}, and under way are {nodes}",
            node=node.name,
            nodes=_listed(situation.missing),
            limit=situation.limit,
        )
        return [Reason(code="max_parallel", detail=detail)]
    if place is Place.SERIAL:
        detail = say(
            "node {node!r} waits for its turn: its workflow runs one node at a time, now {nodes}",
            node=node.name,
            nodes=_listed(situation.missing),
        )
        return [Reason(code="waiting_for_turn", detail=detail)]
    if place is Place.QUEUED:
        return [_queued(node, situation)]
    return [Reason(code="starting", detail=say("node {node!r} is about to begin", node=node.name))]


def _queued(node: Node, situation: NodeSituation) -> Reason:
    pool = situation.pool
    if pool is not None and pool.is_full:
        why, code = pool_is_full(pool, situation.ahead or 0), "waiting_for_pool"
    else:
        why, code = _slot(situation.slots, situation.ahead), "waiting_for_slot"
    return Reason(code=code, detail=say("node {node!r} is ready: {why}", node=node.name, why=why))


def _pending(row: Any, situation: Situation | None, attempts: Sequence[Any]) -> Iterator[Reason]:
    if situation is None:
        yield _nobody()
        return
    if situation.engine is not None:
        yield _elsewhere(situation.engine)
        return
    if situation.held:
        detail = say("its task is paused: it begins once that is resumed")
        yield Reason(code="task_paused", detail=detail)
    if situation.paused_above is not None:
        detail = say("the workflow around it, execution {id}, is paused", id=situation.paused_above)
        yield Reason(code="workflow_paused", detail=detail, execution_id=situation.paused_above)
    if row.pause_requested:
        yield Reason(code="execution_paused", detail=say("it was paused before it began; resume it"))
    yield _waiting(row, situation)
    if attempts and row.waiting_for in ("retry", "shutdown"):
        yield _attempt_failed(attempts[-1])


def _waiting(row: Any, situation: Situation) -> Reason:
    code, pool, until = row.waiting_for or "slot", situation.pool, None
    why: Message
    if code in ("slot", "pool"):
        code = "pool" if pool is not None and pool.is_full else "slot"
    if code == "pool" and pool is not None:
        why = pool_is_full(pool, pool.ahead.get(row.id, 0))
    elif code == "slot":
        why = _slot(situation.slots, situation.ahead)
    elif code == "check" and row.message:
        return _check(row)
    else:
        why = PENDING.get(code) or say("it waits for {what}", what=code)
        until = row.waiting_until
    if situation.others and code in ("overlap", "backfill"):
        others = _ids(situation.others)
        why = say("{why} (now active: {others})", why=why, others=others)
    if until is not None:
        why = say("{why}, until {instant}", why=why, instant=shown(until))
    return Reason(code=f"waiting_for_{code}", detail=why, until=until)


def _check(row: Any) -> Reason:
    """What its last look has told."""
    detail = say("it looks again at {instant}: {told}", instant=shown(row.waiting_until), told=row.message)
    return Reason(code="waiting_for_check", detail=detail, until=row.waiting_until)


def _slot(slots: tuple[int, int], ahead: int | None) -> Message:
    return say(
        "it waits for a slot: {used} of {all} are in use, {ahead} wait before it",
        used=slots[0],
        all=slots[1],
        ahead=ahead or 0,
    )


def _running(
    row: Any, definition: TaskDef, situation: Situation | None, node: Node | None
) -> Iterator[Reason]:
    if situation is None:
        yield _nobody()
        return
    if row.terminate_requested:
        yield Reason(code="terminate_requested", detail=say("it is being ended by request"))
    if row.pause_requested:
        detail = say("it was asked to stand still, and comes to its next point where it can")
        yield Reason(code="pause_requested", detail=detail)
    if situation.engine is not None:
        yield _elsewhere(situation.engine)
    elif situation.under_way or situation.unstarted:
        yield _workflow(situation)
    else:
        action = node.action if node is not None and node.action is not None else definition.action
        tries = action.retry.max_retries + 1 if action is not None else 1
        detail = say(
            "it runs since {since}: attempt {number} of {all}",
            since=shown(row.attempt_start),
            number=row.retry_count + 1,
            all=max(tries, row.retry_count + 1),
        )
        yield Reason(code="running", detail=detail, execution_id=row.id)


def _workflow(situation: Situation) -> Reason:
    names = _listed(situation.under_way) if situation.under_way else say("nobody")
    detail = say("under way: {nodes}; {count} nodes have not begun", nodes=names, count=situation.unstarted)
    return Reason(code="nodes_under_way", detail=detail)


def _paused(row: Any, situation: Situation | None) -> Iterator[Reason]:
    if situation is None:
        yield _nobody()
        return
    yield Reason(code="execution_paused", detail=say("it is paused; resume it"), execution_id=row.id)
    if situation.unstopped:
        detail = say("these have not come to stand still yet: {nodes}", nodes=_listed(situation.unstopped))
        yield Reason(code="pause_requested", detail=detail)


def _skipped(row: Any, node: Node | None, nodes: Sequence[Named]) -> Reason:
    reason = row.skip_reason or row.error_code
    if reason == Passed.RULE and node is not None:
        detail = say(
            "its `trigger_rule` {rule} is not met: {nodes}",
            rule=node.trigger_rule.value,
            nodes=_listed(nodes),
        )
        return Reason(code="rule_not_met", detail=detail)
    if reason == Passed.WHEN:
        condition = node.when if node is not None and node.when is not None else "?"
        return Reason(
            code="when_false", detail=say("its `when` is not true: {condition}", condition=condition)
        )
    if reason == Passed.TERMINATED:
        return Reason(code="workflow_terminated", detail=say("its workflow was ended before it began"))
    detail = say("another node had failed before it began, and `on_failure` is `stop`")
    return Reason(code="workflow_stopped", detail=detail)


def _ended(row: Any, status: Status, attempts: Sequence[Any], nodes: Sequence[Named]) -> Iterator[Reason]:
    moment = shown(row.end_time)
    if row.reused_from is not None:
        detail = say("it was taken over from execution {id}, where it succeeded", id=row.reused_from)
        yield Reason(code="reused", detail=detail, execution_id=row.reused_from)
        return
    if status is Status.SUCCESS:
        detail = say(
            "it succeeded at {instant}, with attempt {number}", instant=moment, number=row.retry_count + 1
        )
        yield Reason(code="succeeded", detail=detail)
        return
    why = row.error_message or row.error_code or "?"
    if status is Status.TERMINATED:
        detail = say("it was ended at {instant}: {why}", instant=moment, why=why)
    elif status is Status.COMPLETED:
        detail = say(
            "it went on to its end at {instant}, though not all went well: {why}", instant=moment, why=why
        )
    else:
        detail = say("it failed at {instant}: {why}", instant=moment, why=why)
    yield Reason(code=status.value, detail=detail)
    if nodes:
        yield Reason(code="nodes_failed", detail=say("did not succeed: {nodes}", nodes=_listed(nodes)))
    if len(attempts) > 1:
        detail = say("all {count} attempts ended so", count=len(attempts))
        yield Reason(code="attempts_used_up", detail=detail)


def _attempt_failed(attempt: Any) -> Reason:
    why = attempt.error_message or attempt.error_code or attempt.outcome
    detail = say("attempt {number} ended with: {why}", number=attempt.attempt, why=why)
    return Reason(code="attempt_failed", detail=detail)


def _nobody() -> Reason:
    detail = say("no server runs: it goes on when one does")
    return Reason(code="not_served", detail=detail)


def _elsewhere(engine: int) -> Reason:
    return Reason(code="elsewhere", detail=say("another scheduler, engine {id}, drives it", id=engine))


def _listed(nodes: Sequence[Named]) -> Message:
    return _some([say("{name} ({status})", name=named.name, status=named.status) for named in nodes])


def _ids(ids: Sequence[int]) -> Message:
    return _some([say("execution {id}", id=id_) for id_ in ids])


def _some(parts: Sequence[Message]) -> Message:
    some = joined(", ", parts[:SHOWN])
    return say("{some} and {count} more", some=some, count=len(parts) - SHOWN) if len(parts) > SHOWN else some


def unsuccessful(rows: Sequence[Any]) -> list[Named]:
    """Of the rows of nodes those that did not succeed."""
    return [
        Named(name=row.node, status=row.status, execution_id=row.id)
        for row in rows
        if row.status in (Status.FAILED, Status.TERMINATED, Status.COMPLETED)
    ]


def dependencies_of(node: Node, rows: Mapping[str, Any]) -> list[Named]:
    """How the nodes have ended that this one waited for."""
    return [
        Named(name=name, status=rows[name].status, execution_id=rows[name].id)
        for name in node.dependencies
        if name in rows
    ]
