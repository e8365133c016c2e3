"""What became of each of several things? A line for each, and an exit code that tells whether one failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from zquant_flow.api.models import BulkAction
from zquant_flow.client import ApiError, Client, Task
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say

AT_ONCE = 1000
"""Tasks in one bulk request."""


class Result(NamedTuple):
    """`detail` is what it is now, or why it failed."""

    id: int
    name: str
    ok: bool
    detail: str


def act_on_tasks(
    client: Client, action: BulkAction, tasks: Sequence[Task], one: Callable[[Task], object]
) -> list[Result]:
    """The action on each: a single one by its own call, whose error is raised; several in bulk."""
    if len(tasks) == 1:
        one(tasks[0])
        return [Result(tasks[0].id, tasks[0].name, True, "")]
    names = {task.id: task.name for task in tasks}
    ids = list(names)
    answers = [client.bulk(action, ids[start : start + AT_ONCE]) for start in range(0, len(ids), AT_ONCE)]
    return [
        Result(
            item.task_id, names[item.task_id], item.ok, item.detail or ("" if item.ok else item.code or "")
        )
        for answer in answers
        for item in answer.results
    ]


def each(items: Iterable[tuple[int, str]], act: Callable[[int], str]) -> list[Result]:
    """`act` on every id, one after the other; of one alone the error is raised."""
    items = list(items)
    results = []
    for id_, name in items:
        try:
            results.append(Result(id_, name, True, act(id_)))
        except ApiError as exc:
            if len(items) == 1:
                raise
            results.append(Result(id_, name, False, exc.detail))
    return results


def report(results: Sequence[Result], done: str, failed: str, *, as_json: bool) -> int:
    """Print them; 0, or 1 if one failed. `done` and `failed` are the words of the first column."""
    if as_json:
        sys.stdout.write(
            json.dumps({"results": [item._asdict() for item in results]}, ensure_ascii=False) + "\n"
        )
    elif results:
        for item in results:
            words = (done if item.ok else failed, str(item.id), item.name, item.detail)
            sys.stdout.write("  ".join(word for word in words if word) + "\n")
    return 0 if all(item.ok for item in results) else 1


def confirmed(question: str, *, yes: bool) -> None:
    """Ask in a terminal; elsewhere raises BadRequest that names `--yes`. A no ends the command."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadRequest(say("there is no terminal to ask in; say --yes"))
    import typer

    typer.confirm(question, abort=True)
