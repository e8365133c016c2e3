"""Which commands are there? Each imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from zquant_flow import __version__
from zquant_flow.cli import executions, housekeeping, notify, pools, tokens
from zquant_flow.cli import tasks as task_commands
from zquant_flow.cli.completion import task_names
from zquant_flow.cli.group import Group
from zquant_flow.cli.language import t
from zquant_flow.cli.options import (
    BlockedPlugins,
    CalendarsDir,
    Data,
    Ids,
    Json,
    Params,
    Plugins,
    PluginsDir,
    Server,
    Since,
    Tasks,
    Until,
    Wait,
    Zone,
)

app = typer.Typer(
    name="zquant-flow",
    cls=Group,
    help=t(
        "Drop a YAML or Python file into a folder: it runs on time, exactly once, as a DAG, and can say why."
    ),
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(help=t("Watcher, scheduler, engine and API in one process."))
def serve(
    tasks: Tasks = None,
    data: Data = None,
    plugins: PluginsDir = None,
    plugin: Plugins = None,
    block_plugin: BlockedPlugins = None,
    calendars: CalendarsDir = None,
    database: Annotated[str | None, typer.Option("--database", help=t("SQLAlchemy URL."))] = None,
    host: Annotated[
        str | None, typer.Option("--host", help=t("Where to listen."), show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help=t("0 takes a free one."), show_default="8000")
    ] = None,
    timezone: Zone = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help=t("Attempts at once."), show_default="10")
    ] = None,
    handover: Annotated[
        bool,
        typer.Option("--handover", help=t("Take the place of the server that runs; its attempts go on.")),
    ] = False,
) -> None:
    """Watcher, scheduler, engine and API in one process."""
    from zquant_flow.cli.serve import serve as run_server

    run_server(
        tasks_dir=tasks,
        data_dir=data,
        plugins_dir=plugins,
        plugins=plugin,
        blocked_plugins=block_plugin,
        calendars_dir=calendars,
        database_url=database,
        host=host,
        port=port,
        timezone=timezone,
        thread_pool_size=threads,
        handover=handover,
    )


@app.command(help=t("The scheduler without HTTP; several of them share one PostgreSQL."))
def scheduler(
    tasks: Tasks = None,
    data: Data = None,
    plugins: PluginsDir = None,
    plugin: Plugins = None,
    block_plugin: BlockedPlugins = None,
    calendars: CalendarsDir = None,
    database: Annotated[str | None, typer.Option("--database", help=t("SQLAlchemy URL."))] = None,
    timezone: Zone = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help=t("Attempts at once."), show_default="10")
    ] = None,
) -> None:
    """The scheduler without HTTP; several of them share one PostgreSQL."""
    from zquant_flow.cli.apart import run_scheduler

    run_scheduler(
        tasks_dir=tasks,
        data_dir=data,
        plugins_dir=plugins,
        plugins=plugin,
        blocked_plugins=block_plugin,
        calendars_dir=calendars,
        database_url=database,
        timezone=timezone,
        thread_pool_size=threads,
    )


@app.command(help=t("The API alone, beside schedulers on the same PostgreSQL; any number of it."))
def api(
    tasks: Tasks = None,
    data: Data = None,
    database: Annotated[str | None, typer.Option("--database", help=t("SQLAlchemy URL."))] = None,
    host: Annotated[
        str | None, typer.Option("--host", help=t("Where to listen."), show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help=t("0 takes a free one."), show_default="8000")
    ] = None,
    timezone: Zone = None,
) -> None:
    """The API alone, beside schedulers on the same PostgreSQL; any number of it."""
    from zquant_flow.cli.apart import run_api

    run_api(tasks_dir=tasks, data_dir=data, database_url=database, host=host, port=port, timezone=timezone)


@app.command(help=t("Run one task or workflow in the foreground, with a live tree of its nodes."))
def run(
    target: Annotated[str, typer.Argument(help=t("A task file, or the name of a task."))],
    param: Params = None,
    tasks: Tasks = None,
    data: Data = None,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help=t("Record nothing."))] = False,
    threads: Annotated[int | None, typer.Option("--threads", help=t("Attempts at once."))] = None,
    as_json: Json = False,
) -> None:
    """Run one task or workflow in the foreground, with a live tree of its nodes."""
    from zquant_flow.cli.run import run as run_task

    sys.exit(
        run_task(
            target,
            param or [],
            tasks_dir=tasks,
            data_dir=data,
            ephemeral=ephemeral,
            threads=threads,
            as_json=as_json,
        )
    )


@app.command(help=t("Load task files and print what is wrong with them; exit code 2 if anything is."))
def validate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help=t("Files or folders."), show_default="tasks")
    ] = None,
    tasks: Tasks = None,
    as_json: Json = False,
) -> None:
    """Load task files and print what is wrong with them; exit code 2 if anything is."""
    from zquant_flow.cli.validate import validate as run_validate

    sys.exit(run_validate(paths or [], tasks_dir=tasks, as_json=as_json))


@app.command("next", help=t("The next fire times of a cron expression or task."))
def next_(
    target: Annotated[str, typer.Argument(help=t("A cron expression, or the name of a task."))],
    tz: Annotated[str | None, typer.Option("--tz", help=t("Zone of the expression."))] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", help=t("Look from this instant on."), show_default=t("now"))
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help=t("How many."))] = 5,
    tasks: Tasks = None,
    as_json: Json = False,
) -> None:
    """The next fire times of a cron expression or task."""
    from zquant_flow.cli.next import show_next

    sys.exit(show_next(target, tz=tz, start=start, count=count, tasks_dir=tasks, as_json=as_json))


@app.command(help=t("The JSON Schema of task files, for editors."))
def schema() -> None:
    """The JSON Schema of task files, for editors."""
    import json

    from zquant_flow.config import load_settings
    from zquant_flow.definitions.schema import json_schema
    from zquant_flow.executors.installed import installed
    from zquant_flow.plugin.sources import Sources

    configs = installed(Sources.of(load_settings())).configs
    typer.echo(json.dumps(json_schema(configs), indent=2, ensure_ascii=False))


@app.command(help=t("Make up for the past: one execution for each logical time in a span, none twice."))
def backfill(
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]",
            help=t("Id or name of a task; none with --cancel."),
            show_default=False,
            autocompletion=task_names,
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="WHEN", help=t("The first instant, or `3d` back."))
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="WHEN", help=t("The last instant, or `now`."))
    ] = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=1000, help=t("At once."))] = 1,
    param: Params = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("Only show what would begin."))] = False,
    wait: Wait = False,
    listing: Annotated[
        bool, typer.Option("--list", help=t("Show the backfills that there were, and how far each is."))
    ] = False,
    cancel: Annotated[
        int | None, typer.Option("--cancel", metavar="ID", min=1, help=t("Begin nothing more of a backfill."))
    ] = None,
    terminate: Annotated[
        bool, typer.Option("--terminate", help=t("With --cancel: end what runs of it too."))
    ] = False,
    as_json: Json = False,
    quiet: Ids = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.backfill import backfill as run_backfill
    from zquant_flow.cli.backfills import cancel_backfill, check_words, list_backfills

    check_words(task, start, end, listing=listing, cancel=cancel, terminate=terminate)
    if cancel is not None:
        cancel_backfill(cancel, terminate=terminate, as_json=as_json, quiet=quiet, server=server, data=data)
        return
    if listing:
        list_backfills(task, as_json=as_json, quiet=quiet, server=server, data=data)
        return
    sys.exit(
        run_backfill(
            task or "",
            start or "",
            end or "",
            parallel=parallel,
            param=param,
            dry_run=dry_run,
            wait=wait,
            as_json=as_json,
            quiet=quiet,
            server=server,
            data=data,
        )
    )


@app.command(help=t("How well it has gone: counts, durations, the rate of success."))
def stats(
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]",
            help=t("Id or name of a task."),
            show_default=t("all"),
            autocompletion=task_names,
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.stats import show_stats

    show_stats(task, since=since, until=until, as_json=as_json, server=server, data=data)


@app.command(help=t("What fires in the next hours."))
def upcoming(
    hours: Annotated[float, typer.Option("--hours", min=0, max=87_600, help=t("How far to look."))] = 24.0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help=t("At most so many."))] = 100,
    as_json: Json = False,
    quiet: Ids = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.stats import show_upcoming

    show_upcoming(hours=hours, limit=limit, as_json=as_json, quiet=quiet, server=server, data=data)


@app.command(help=t("What would fire and run in a span, from past durations; nothing is started or written."))
def simulate(
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="WHEN", help=t("The first instant."), show_default=t("now")),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="WHEN", help=t("The last instant, or `30d` ahead."), show_default="7d"),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help=t("Tell of this task alone, by id or name."),
            autocompletion=task_names,
        ),
    ] = None,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.simulate import simulate as run_simulation

    run_simulation(start, end, task=task, as_json=as_json, server=server, data=data)


@app.command(help=t("What runs now, live, until Ctrl-C; with --json each event in a line."))
def watch(as_json: Json = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.watch import watch as run_watch

    run_watch(as_json=as_json, server=server, data=data)


@app.command(
    help=t("Begin a project: an example, and settings to fill in. Nothing that is there is touched.")
)
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", file_okay=False, help=t("Where."), show_default=t("here"))
    ] = Path(),
) -> None:
    from zquant_flow.cli.beginning import begin

    begin(folder)


@app.command(
    help=t("Look whether machine and project are as they should be; exit code 1 if there is a problem.")
)
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help=t("Set right what can be; no server may run."))
    ] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    from zquant_flow.cli.doctor import doctor as run_doctor

    sys.exit(run_doctor(data=data, as_json=as_json, repair=repair))


app.add_typer(task_commands.app, name="tasks")
app.add_typer(executions.app, name="executions")
app.add_typer(tokens.app, name="tokens")
app.add_typer(pools.app, name="pools")
app.add_typer(notify.app, name="notify")
app.add_typer(housekeeping.plugins, name="plugins")
app.add_typer(housekeeping.database, name="db")
app.add_typer(housekeeping.new, name="new")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help=t("Print the version."))] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """The entry point. Errors of ours are one line and exit code 2; Ctrl-C is 130."""
    from zquant_flow.errors import ZquantFlowError

    try:
        app()
    except ZquantFlowError as error:
        typer.echo(t("error: {detail}", detail=error.detail), err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
