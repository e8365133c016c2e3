"""How do tasks read?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from zquant_flow.api.models import ExplainOut, FirePage, TaskOut, TaskPage, VersionPage
from zquant_flow.cli.instants import lasting, local, moment, moment_and_local
from zquant_flow.cli.language import shown, t
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
from zquant_flow.client import Client, Task
from zquant_flow.core.starters import starters

PAGE = 1000


def show_tasks(client: Client, filters: Mapping[str, Any], *, limit: int, as_json: bool, quiet: bool) -> None:
    """A list of at most `limit`, whatever pages the server makes of it."""
    page = _pages(client, filters, limit)
    if as_json:
        print_json(page)
    elif quiet:
        print_ids(task.id for task in page.tasks)
    elif not page.tasks:
        note(t("no task matches"))
    else:
        titles = [t("id"), t("name"), t("status"), t("schedule"), t("next"), t("latest"), t("ended as")]
        print_table(titles, [_row(task) for task in page.tasks])
        if page.total > len(page.tasks):
            note(t("{shown} of {total}; --limit shows more", shown=len(page.tasks), total=page.total))


def show_task(task: Task, *, as_json: bool) -> None:
    """One task, fact by fact."""
    if as_json:
        print_json(task)
        return
    print_facts(
        [
            (t("id"), str(task.id)),
            (t("name"), task.name),
            (t("description"), task.description),
            (t("type"), task.task_type),
            (t("status"), status(task.schedule_status)),
            (t("archived"), local(task.archived_time)),
            (t("schedule"), schedule_of(task)),
            (t("time zone"), task.timezone or ""),
            (t("next run"), moment_and_local(task.next_run_time)),
            (t("latest"), _latest(task)),
            (t("does"), _action(task)),
            (t("params"), _json(task.params)),
            (t("overlap"), task.overlap),
            (t("retries"), _retries(task)),
            (t("tags"), ", ".join(task.tags)),
            (t("file"), task.source or ""),
            (t("version"), str(task.version)),
            (t("notify"), _told(task.notify)),
            (t("warnings"), Cell(", ".join(task.warnings), "yellow")),
        ]
    )


def _told(notify: Mapping[str, Sequence[str]] | None) -> str:
    """`on_failure: ops, team; on_retry: ops`."""
    return "; ".join(f"{word}: {', '.join(channels)}" for word, channels in (notify or {}).items())


def show_reasons(explained: ExplainOut, *, as_json: bool) -> None:
    """Why it is, or is not, running now."""
    if as_json:
        print_json(explained)
        return
    sys.stdout.write(f"{explained.name}: {explained.summary}\n")
    for reason in explained.reasons:
        if reason.detail != explained.summary:
            sys.stdout.write(f"  - {reason.detail}\n")
    later = [instant for instant in explained.next_runs if instant != explained.next_run_time]
    print_facts(
        [
            (t("schedule"), explained.schedule or ""),
            (t("next run"), moment_and_local(explained.next_run_time)),
            (t("then"), ", ".join(map(local, later[:3]))),
        ]
    )


def show_fires(page: FirePage, *, as_json: bool) -> None:
    """The ledger, by time."""
    if as_json:
        print_json(page)
    elif not page.fires:
        note(t("nothing fired and nothing was skipped in that time"))
    else:
        print_table(
            [t("logical time"), t("until"), t("outcome"), t("execution")],
            [
                (
                    local(fire.logical_time),
                    local(fire.until) if fire.until != fire.logical_time else "",
                    status(fire.outcome),
                    str(fire.execution_id or ""),
                )
                for fire in page.fires
            ],
        )


def show_versions(page: VersionPage, *, as_json: bool) -> None:
    """The versions of a definition."""
    if as_json:
        print_json(page)
        return
    print_table(
        [t("version"), t("made"), t("hash"), ""],
        [
            (
                str(version.version),
                moment(version.created_time),
                faint(version.content_hash[:12]),
                t("current") if version.current else "",
            )
            for version in page.versions
        ],
    )


def schedule_of(task: TaskOut) -> str:
    """When it fires, in short."""
    if task.cron_expression:
        return task.cron_expression
    if task.interval_seconds:
        return t("every {span}", span=lasting(task.interval_seconds))
    if task.next_run_time:
        return t("several times")
    found = starters(
        after=task.after.tasks if task.after is not None else (),
        consumes=task.consumes,
        on_file=task.on_file.glob if task.on_file is not None else None,
        webhook=task.webhook,
    )
    return "; ".join(map(shown, found)) or t("when triggered")


def _pages(client: Client, filters: Mapping[str, Any], limit: int) -> TaskPage:
    page = client.list_tasks(**filters, limit=min(limit, PAGE))
    while page.next_cursor and len(page.tasks) < limit:
        more = client.list_tasks(**filters, limit=min(PAGE, limit - len(page.tasks)), cursor=page.next_cursor)
        page = TaskPage(tasks=[*page.tasks, *more.tasks], total=more.total, next_cursor=more.next_cursor)
    return page


def _row(task: TaskOut) -> Row:
    return (
        str(task.id),
        task.name,
        status(task.schedule_status),
        schedule_of(task),
        moment(task.next_run_time),
        moment(task.latest_execution_time),
        status(task.latest_execution_status),
    )


def _latest(task: TaskOut) -> Cell | str:
    if task.latest_execution_id is None:
        return t("never ran")
    words = status(task.latest_execution_status)
    text = f"{words.text}  {moment_and_local(task.latest_execution_time)}  " + t(
        "(execution {id})", id=task.latest_execution_id
    )
    return Cell(text, words.style)


def _action(task: TaskOut) -> str:
    nodes = task.config.get("tasks")
    if isinstance(nodes, list):
        return t("{count} nodes: {names}", count=len(nodes), names=", ".join(map(_node_name, nodes[:20])))
    for key in ("command", "python"):
        if task.config.get(key):
            found = task.config[key]
            return found if isinstance(found, str) else _json(found)
    return task.executor or ""


def _node_name(node: Any) -> str:
    return (
        str(node.get("name") or node.get("task") or node.get("task_id"))
        if isinstance(node, dict)
        else str(node)
    )


def _retries(task: TaskOut) -> str:
    if not task.max_retries:
        return ""
    return t("{count}, {span} apart", count=task.max_retries, span=lasting(task.retry_interval))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""
