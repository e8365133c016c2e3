"""How do executions read?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zquant_flow.api.models import AttemptOut, ExecutionExplainOut, ExecutionOut, ExecutionPage
from zquant_flow.cli.instants import lasting, local, moment, moment_and_local
from zquant_flow.cli.language import t
from zquant_flow.cli.naming import the_task
from zquant_flow.cli.tables import (
    Cell,
    Row,
    faint,
    note,
    print_facts,
    print_ids,
    print_json,
    print_table,
    status,
)
from zquant_flow.client import Client

PAGE = 1000


def show_executions(
    client: Client, task: str | None, filters: Mapping[str, Any], *, limit: int, as_json: bool, quiet: bool
) -> None:
    """A list of at most `limit`, of one task or of all."""
    page = _pages(client, task, filters, limit)
    if as_json:
        print_json(page)
    elif quiet:
        print_ids(execution.id for execution in page.executions)
    elif not page.executions:
        note(t("no execution matches"))
    else:
        titles = [t("id"), t("task"), t("status"), t("began"), t("took"), t("trigger"), ""]
        print_table(titles, [row(execution) for execution in page.executions])
        if page.total > len(page.executions):
            note(t("{shown} of {total}; --limit shows more", shown=len(page.executions), total=page.total))


def show_execution(execution: ExecutionOut, *, as_json: bool) -> None:
    """One execution, fact by fact, with its attempts and nodes."""
    if as_json:
        print_json(execution)
        return
    print_facts(_facts(execution))
    if execution.attempts:
        sys.stdout.write("\n")
        titles = [t("attempt"), t("outcome"), t("began"), t("took"), t("exit code"), ""]
        print_table(titles, [_attempt(attempt) for attempt in execution.attempts])
    if execution.children:
        sys.stdout.write("\n")
        titles = [t("node"), t("id"), t("status"), t("took"), ""]
        print_table(titles, list(_tree(execution.children)))


def row(execution: ExecutionOut) -> Row:
    """An execution in a line."""
    name = execution.task_name or str(execution.task_id)
    return (
        str(execution.id or ""),
        f"{name} / {execution.node}" if execution.node else name,
        status(execution.status),
        moment(execution.start_time or execution.created_time),
        lasting(execution.duration_seconds),
        execution.trigger_type,
        faint(remark(execution)),
    )


def remark(execution: ExecutionOut) -> str:
    """The most telling thing beside the status: what it waits for, how far it is, why it failed."""
    if execution.error_message:
        return execution.error_message
    if execution.waiting_for == "approval" and execution.message:
        return t("waits for an answer: {question}", question=execution.message)
    if execution.waiting_for:
        return t("waits for {what}", what=execution.waiting_for)
    if execution.status == "running" and execution.progress_percent is not None:
        item = f"  {execution.current_item}" if execution.current_item else ""
        return f"{execution.progress_percent:.0f} %{item}"
    return execution.skip_reason or ""


def now_is(execution: ExecutionOut, asked: int) -> str:
    """What became of an execution that a button was pressed for."""
    if execution.id != asked:
        return t("as execution {id}", id=execution.id)
    if execution.terminate_requested and execution.status not in ("terminated",):
        return t("asked; it is {status} yet", status=execution.status)
    if execution.pause_requested and execution.status != "paused":
        return t("asked; it is {status} yet", status=execution.status)
    return ""


def _facts(execution: ExecutionOut) -> list[tuple[str, str | Cell]]:
    progress = execution.progress_percent if execution.status == "running" else None
    return [
        (t("id"), str(execution.id)),
        (t("task"), f"{execution.task_name or ''} ({execution.task_id})".strip()),
        (t("node"), execution.node or ""),
        (t("status"), status(execution.status)),
        (t("progress"), "" if progress is None else f"{progress:.0f} %"),
        (t("current"), execution.current_item or ""),
        (t("waits for"), execution.waiting_for or ""),
        (t("error"), Cell(execution.error_message or "", "red")),
        (t("began"), moment_and_local(execution.start_time)),
        (t("ended"), moment_and_local(execution.end_time)),
        (t("took"), lasting(execution.duration_seconds)),
        (t("logical time"), local(execution.logical_time)),
        (t("trigger"), f"{execution.trigger_type}, {execution.created_by}"),
        (t("params"), _json(execution.params)),
        (t("result"), _result(execution)),
        (t("retries"), str(execution.retry_count or "")),
        (t("resumes"), _id(execution.resume_from_execution_id)),
        (t("part of"), _id(execution.parent_execution_id)),
        (t("version"), str(execution.version)),
        (t("skipped"), execution.skip_reason or ""),
        (t("marked"), _mark(execution)),
    ]


def _result(execution: ExecutionOut) -> str:
    if execution.result_size is None:
        return _json(execution.result)
    return t("{size} bytes; see: zqf executions result {id}", size=execution.result_size, id=execution.id)


def _mark(execution: ExecutionOut) -> str:
    if execution.marked_status is None:
        return ""
    return t("{status}, by {name}", status=execution.marked_status, name=execution.marked_by or "")


def _attempt(attempt: AttemptOut) -> Row:
    code = f"signal {attempt.signal}" if attempt.signal is not None else attempt.exit_code
    return (
        str(attempt.attempt),
        status(attempt.outcome),
        moment(attempt.start_time),
        lasting(attempt.duration_seconds),
        "" if code is None else str(code),
        faint(attempt.error_message or ""),
    )


def _tree(nodes: Sequence[ExecutionOut], depth: int = 0) -> Iterator[Row]:
    for node in nodes:
        yield (
            "  " * depth + (node.node or node.task_name or ""),
            str(node.id or ""),
            status(node.status),
            lasting(node.duration_seconds),
            faint(remark(node)),
        )
        yield from _tree(node.children or (), depth + 1)


def show_reasons(explained: ExecutionExplainOut, *, as_json: bool) -> None:
    """Why it runs, waits, or ended so."""
    if as_json:
        print_json(explained)
        return
    name = explained.task_name if explained.node is None else f"{explained.task_name} / {explained.node}"
    sys.stdout.write(f"{name} ({explained.status}): {explained.summary}\n")
    for reason in explained.reasons[1:]:
        sys.stdout.write(f"  - {reason.detail}\n")


def _pages(client: Client, task: str | None, filters: Mapping[str, Any], limit: int) -> ExecutionPage:
    task_id = the_task(client, task).id if task is not None else None

    def ask(size: int, cursor: str | None) -> ExecutionPage:
        query = {**filters, "limit": min(size, PAGE), "cursor": cursor}
        if task_id is None:
            return client.list_executions(**query)
        return client.list_task_executions(task_id, **query)

    page = ask(limit, None)
    while page.next_cursor and len(page.executions) < limit:
        more = ask(limit - len(page.executions), page.next_cursor)
        page = ExecutionPage(
            executions=[*page.executions, *more.executions], total=more.total, next_cursor=more.next_cursor
        )
    return page


def _id(id_: int | None) -> str:
    return "" if id_ is None else t("execution {id}", id=id_)


def _json(value: Any) -> str:
    return "" if value in (None, {}, [], "") else json.dumps(value, ensure_ascii=False)
