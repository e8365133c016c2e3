"""Commands about tasks: which there are, what each is, and the buttons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from zquant_flow.cli.language import t
from zquant_flow.cli.options import (
    Data,
    Ids,
    Json,
    Key,
    Limit,
    Params,
    Server,
    Tag,
    TaskRef,
    TaskRefs,
    Text,
    Wait,
    Yes,
)

app = typer.Typer(
    help=t("List, show, trigger, switch and delete tasks."), no_args_is_help=True, rich_markup_mode=None
)

Action = Literal["enable", "disable", "pause", "resume"]


@app.command("list", help=t("The tasks, with status, schedule and times."))
def list_(
    task_type: Annotated[
        Literal["manual_task", "common_task", "workflow"] | None,
        typer.Option("--type", help=t("Only this type.")),
    ] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help=t("Only those whose schedule is on, or off."))
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help=t("Whose latest execution is so; may stand several times.")),
    ] = None,
    tag: Tag = None,
    source: Annotated[str | None, typer.Option("--source", help=t("Only of this file."))] = None,
    q: Text = None,
    archived: Annotated[bool, typer.Option("--archived", help=t("Archived ones too."))] = False,
    limit: Limit = 100,
    order_by: Annotated[
        str, typer.Option("--order-by", metavar="FIELD", help=t("`-FIELD` turns it round."))
    ] = "id",
    as_json: Json = False,
    quiet: Ids = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.task_views import show_tasks

    filters = {
        "task_type": task_type,
        "enabled": enabled,
        "status": status,
        "tag": tag,
        "source": source,
        "q": q,
        "archived": archived or None,
        "order_by": order_by.removeprefix("-"),
        "order": "desc" if order_by.startswith("-") else "asc",
    }
    with connected(server, data) as client:
        show_tasks(client, filters, limit=limit, as_json=as_json, quiet=quiet)


@app.command(help=t("One task: its definition in short, what it does now, and when it runs next."))
def show(task: TaskRef, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.naming import the_task
    from zquant_flow.cli.task_views import show_task

    with connected(server, data) as client:
        show_task(the_task(client, task), as_json=as_json)


@app.command(help=t("Run a task now."))
def trigger(
    task: TaskRef,
    param: Params = None,
    logical_time: Annotated[
        str | None,
        typer.Option("--logical-time", metavar="WHEN", help=t("The instant that the execution stands for.")),
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help=t("Also where that instant has had its execution."))
    ] = False,
    wait: Wait = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help=t("Wait, and print the log."))] = False,
    idempotency_key: Key = None,
    as_json: Json = False,
    quiet: Ids = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.instants import instant
    from zquant_flow.cli.naming import the_task
    from zquant_flow.cli.params import params_of
    from zquant_flow.cli.triggering import started

    given, when = params_of(param), instant(logical_time, "--logical-time")
    with connected(server, data) as client:
        found = the_task(client, task)
        answer = client.trigger_task(
            found, given, logical_time=when, rerun=rerun, idempotency_key=idempotency_key
        )
        sys.exit(
            started(
                client, answer, found.name, wait=wait or follow, with_log=follow, as_json=as_json, quiet=quiet
            )
        )


@app.command(help=t("Let their schedules fire, from now on."))
def enable(tasks: TaskRefs, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    sys.exit(_switch("enable", tasks, as_json, server, data))


@app.command(help=t("Skip their fires; what is pending goes on."))
def disable(tasks: TaskRefs, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    sys.exit(_switch("disable", tasks, as_json, server, data))


@app.command(help=t("Skip their fires, and hold what is pending."))
def pause(tasks: TaskRefs, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    sys.exit(_switch("pause", tasks, as_json, server, data))


@app.command(help=t("Undo a pause."))
def resume(tasks: TaskRefs, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    sys.exit(_switch("resume", tasks, as_json, server, data))


@app.command(help=t("Remove their definitions from their files, and archive them."))
def delete(
    tasks: TaskRefs,
    force: Annotated[bool, typer.Option("--force", help=t("Also where workflows refer to them."))] = False,
    terminate: Annotated[bool, typer.Option("--terminate", help=t("End what runs of them."))] = False,
    yes: Yes = False,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.many import confirmed, each, report
    from zquant_flow.cli.naming import the_tasks

    with connected(server, data) as client:
        found = the_tasks(client, tasks)
        names = ", ".join(task.name for task in found)
        confirmed(t("Delete {names}?", names=names), yes=yes)

        def act(task_id: int) -> str:
            client.delete_task(task_id, force=force, terminate=terminate)
            return ""

        results = each([(task.id, task.name) for task in found], act)
        sys.exit(report(results, t("deleted"), t("failed"), as_json=as_json))


@app.command(help=t("Why it is, or is not, running now; when it will next."))
def explain(task: TaskRef, as_json: Json = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.naming import the_task
    from zquant_flow.cli.task_views import show_reasons

    with connected(server, data) as client:
        show_reasons(client.explain_task(the_task(client, task)), as_json=as_json)


@app.command(help=t("The ledger: which instants fired, which were skipped, and why."))
def fires(
    task: TaskRef,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="WHEN", help=t("From this instant on, or `2h`, `3d` back.")),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="WHEN", help=t("Up to this instant, or `2h`, `3d` back."))
    ] = None,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.instants import instant
    from zquant_flow.cli.naming import the_task
    from zquant_flow.cli.task_views import show_fires

    since, until = instant(start, "--from"), instant(end, "--to")
    with connected(server, data) as client:
        show_fires(client.list_fires(the_task(client, task), start=since, end=until), as_json=as_json)


@app.command(help=t("The versions of its definition; with --version, one of them as JSON."))
def versions(
    task: TaskRef,
    version: Annotated[int | None, typer.Option("--version", min=1, help=t("Only this one."))] = None,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.naming import the_task
    from zquant_flow.cli.tables import print_json
    from zquant_flow.cli.task_views import show_versions

    with connected(server, data) as client:
        found = the_task(client, task)
        if version is not None:
            print_json(client.get_version(found, version))
        else:
            show_versions(client.list_versions(found), as_json=as_json)


@app.command(help=t("The address of its webhook, and the secret that requests to it are signed with."))
def hook(
    task: TaskRef,
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help=t("Give it another secret; the one before is refused from now on.")),
    ] = False,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.naming import the_task
    from zquant_flow.cli.tables import print_facts, print_json

    with connected(server, data) as client:
        number = the_task(client, task).id
        found = client.rotate_hook(number) if rotate else client.get_hook(number)
    if as_json:
        print_json(found)
    else:
        shown = f"{found.header}: sha256=HMAC-SHA256"
        print_facts([(t("address"), f"POST {found.path}"), (t("header"), shown), (t("secret"), found.secret)])


@app.command(help=t("Archive the tasks of files that are gone, also when so many are that it was doubted."))
def prune(as_json: Json = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.tables import print_json

    with connected(server, data) as client:
        found = client.prune_tasks()
    if as_json:
        print_json(found)
        return
    for path in found.files:
        typer.echo(path)
    typer.echo(t("{count} files are gone; their tasks are archived", count=len(found.files)), err=True)


def _switch(action: Action, words: list[str], as_json: bool, server: str | None, data: Path | None) -> int:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.many import act_on_tasks, report
    from zquant_flow.cli.naming import the_tasks

    done = {"enable": t("enabled"), "disable": t("disabled"), "pause": t("paused"), "resume": t("resumed")}
    with connected(server, data) as client:
        one = {
            "enable": client.enable_task,
            "disable": client.disable_task,
            "pause": client.pause_task,
            "resume": client.resume_task,
        }
        results = act_on_tasks(client, action, the_tasks(client, words), one[action])
    return report(results, done[action], t("failed"), as_json=as_json)
