"""Commands about executions: which there were, how one went, its log, and the buttons."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zquant_flow.cli.completion import task_names
from zquant_flow.cli.language import t
from zquant_flow.cli.options import (
    Comment,
    Data,
    ExecutionId,
    ExecutionIds,
    Ids,
    Json,
    Key,
    Limit,
    Params,
    Server,
    Since,
    Tag,
    Text,
    Until,
    Wait,
)

if TYPE_CHECKING:
    from zquant_flow.api.models import ExecutionOut
    from zquant_flow.client import Client

app = typer.Typer(
    help=t("List, show, pause, resume and end executions, and read their logs."),
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Mark(StrEnum):
    """How an execution is to be taken."""

    SUCCESS = "success"
    FAILED = "failed"
    NONE = "none"


@app.command("list", help=t("Executions, the newest first."))
def list_(
    task: Annotated[
        str | None, typer.Option("--task", help=t("Only of this task."), autocompletion=task_names)
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help=t("Only this status; may stand several times."))
    ] = None,
    trigger_type: Annotated[
        list[str] | None,
        typer.Option("--trigger-type", help=t("Only those begun so; may stand several times.")),
    ] = None,
    waiting_for: Annotated[
        str | None,
        typer.Option(
            "--waiting-for", metavar="WHAT", help=t("Only what waits for this, such as `approval`.")
        ),
    ] = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    q: Text = None,
    limit: Limit = 20,
    as_json: Json = False,
    quiet: Ids = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.execution_views import show_executions
    from zquant_flow.cli.instants import instant

    filters = {
        "status": status,
        "trigger_type": trigger_type,
        "waiting_for": waiting_for,
        "tag": tag,
        "since": instant(since, "--since"),
        "until": instant(until, "--until"),
        "q": q,
    }
    with connected(server, data) as client:
        show_executions(client, task, filters, limit=limit, as_json=as_json, quiet=quiet)


@app.command(help=t("One execution, with its attempts and nodes."))
def show(execution: ExecutionId, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.execution_views import show_execution

    with connected(server, data) as client:
        show_execution(client.get_execution(execution, include=("attempts", "children")), as_json=as_json)


@app.command(help=t("The log of an execution; with -f also what comes, to its end."))
def logs(
    execution: ExecutionId,
    follow: Annotated[bool, typer.Option("-f", "--follow", help=t("Follow to the end."))] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, help=t("Which try."), show_default=t("the latest")),
    ] = None,
    tail: Annotated[int | None, typer.Option("--tail", min=1, help=t("Only so many last lines."))] = None,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected, is_live
    from zquant_flow.cli.logs import follow_log, show_log

    with connected(server, data) as client:
        if follow and is_live(client):
            follow_log(client, execution, attempt=attempt)
        else:
            show_log(client, execution, attempt=attempt, tail=tail)


@app.command(help=t("What an execution has returned, as JSON; also what is too large for `show`."))
def result(execution: ExecutionId, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected

    with connected(server, data) as client:
        sys.stdout.buffer.write(client.read_result_text(execution) + b"\n")
        sys.stdout.flush()


@app.command(help=t("Why it runs, waits, or ended so; or why a node of it does."))
def explain(
    execution: ExecutionId,
    node: Annotated[
        str | None, typer.Option("--node", metavar="NAME", help=t("A node of it, which need not have begun."))
    ] = None,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.execution_views import show_reasons

    with connected(server, data) as client:
        show_reasons(client.explain_execution(execution, node=node), as_json=as_json)


@app.command(help=t("Let them stand still: commands at once, Python at its next pause point."))
def pause(executions: ExecutionIds, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    sys.exit(_each(executions, lambda client: client.pause_execution, t("paused"), as_json, server, data))


@app.command(help=t("Let paused ones go on; run again what failed, as a new execution."))
def resume(executions: ExecutionIds, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    sys.exit(_each(executions, lambda client: client.resume_execution, t("resumed"), as_json, server, data))


@app.command(help=t("End them and all below them: SIGTERM, grace, SIGKILL."))
def terminate(
    executions: ExecutionIds, as_json: Json = False, server: Server = None, data: Data = None
) -> None:
    sys.exit(
        _each(executions, lambda client: client.terminate_execution, t("terminated"), as_json, server, data)
    )


@app.command(help=t("Say yes to nodes that wait for it."))
def approve(
    executions: ExecutionIds,
    comment: Comment = "",
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    def act_of(client: Client) -> Callable[[int], ExecutionOut]:
        return lambda id_: client.approve_execution(id_, comment=comment)

    sys.exit(_each(executions, act_of, t("approved"), as_json, server, data))


@app.command(help=t("Say no to nodes that wait for an answer: they have failed."))
def reject(
    executions: ExecutionIds,
    comment: Comment = "",
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    def act_of(client: Client) -> Callable[[int], ExecutionOut]:
        return lambda id_: client.reject_execution(id_, comment=comment)

    sys.exit(_each(executions, act_of, t("rejected"), as_json, server, data))


@app.command(help=t("Run one node of a workflow's execution again; all others stay as they were."))
def rerun(
    execution: ExecutionId,
    node: Annotated[str, typer.Option("--node", metavar="NAME", help=t("Which node."))],
    descendants: Annotated[
        bool, typer.Option("--descendants", help=t("What waits for it too, also by way of others."))
    ] = False,
    original: Annotated[
        bool, typer.Option("--original", help=t("Of the version that it ran, not of the current one."))
    ] = False,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    def act_of(client: Client) -> Callable[[int], ExecutionOut]:
        return lambda id_: client.rerun_node(id_, node, descendants=descendants, original=original)

    sys.exit(_each([execution], act_of, t("runs again"), as_json, server, data))


@app.command(
    help=t("Say how an execution that has ended is to be taken when it is resumed; its status stays.")
)
def mark(
    execution: ExecutionId,
    status: Annotated[
        Mark, typer.Argument(metavar="success|failed|none", help=t("`none` takes back what was said."))
    ],
    comment: Comment = "",
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    def act_of(client: Client) -> Callable[[int], ExecutionOut]:
        said: Literal["success", "failed"] = "success" if status is Mark.SUCCESS else "failed"
        return lambda id_: client.mark_execution(id_, None if status is Mark.NONE else said, comment=comment)

    sys.exit(_each([execution], act_of, t("marked"), as_json, server, data))


@app.command(help=t("Run a definition of a file once, without making a task of it."))
def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.yaml", exists=True, dir_okay=False, help=t("A YAML task file."))
    ],
    param: Params = None,
    wait: Wait = False,
    idempotency_key: Key = None,
    as_json: Json = False,
    quiet: Ids = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.inline import definition_in
    from zquant_flow.cli.params import params_of
    from zquant_flow.cli.triggering import started

    definition, given = definition_in(file), params_of(param)
    name = str(definition.get("name", file.stem))
    with connected(server, data) as client:
        answer = client.run_definition(definition, given, idempotency_key=idempotency_key)
        sys.exit(started(client, answer, name, wait=wait, with_log=False, as_json=as_json, quiet=quiet))


def _each(
    ids: list[int],
    act_of: Callable[[Client], Callable[[int], ExecutionOut]],
    done: str,
    as_json: bool,
    server: str | None,
    data: Path | None,
) -> int:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.execution_views import now_is
    from zquant_flow.cli.many import each, report

    with connected(server, data) as client:
        act = act_of(client)
        results = each([(id_, "") for id_ in dict.fromkeys(ids)], lambda id_: now_is(act(id_), id_))
    return report(results, done, t("failed"), as_json=as_json)
