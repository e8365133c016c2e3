"""Which commands are there? Each imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from zquant_flow import __version__

app = typer.Typer(
    name="zquant-flow",
    help="Drop a YAML or Python file into a folder: it runs on time, exactly once, as a DAG, and can say why.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Tasks = Annotated[Path | None, typer.Option("--tasks", help="Watched folder.", show_default="tasks")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Database, logs, token.", show_default=".zquant-flow")
]
Zone = Annotated[str | None, typer.Option("--timezone", help="Default zone.", show_default="the machine's")]
Json = Annotated[bool, typer.Option("--json", help="JSON for scripts.")]


@app.command()
def serve(
    tasks: Tasks = None,
    data: Data = None,
    plugins: Annotated[Path | None, typer.Option("--plugins", help="Folder of plugin files.")] = None,
    database: Annotated[str | None, typer.Option("--database", help="SQLAlchemy URL.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Where to listen.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="0 takes a free one.", show_default="8000")
    ] = None,
    timezone: Zone = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Attempts at once.", show_default="10")
    ] = None,
) -> None:
    """Watcher, scheduler, engine and API in one process."""
    from zquant_flow.cli.serve import serve as run_server

    run_server(
        tasks_dir=tasks,
        data_dir=data,
        plugins_dir=plugins,
        database_url=database,
        host=host,
        port=port,
        timezone=timezone,
        thread_pool_size=threads,
    )


@app.command()
def run(
    target: Annotated[str, typer.Argument(help="A task file, or the name of a task.")],
    param: Annotated[
        list[str] | None, typer.Option("-p", "--param", help="NAME=VALUE, JSON or text.")
    ] = None,
    tasks: Tasks = None,
    data: Data = None,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help="Record nothing.")] = False,
    threads: Annotated[int | None, typer.Option("--threads", help="Attempts at once.")] = None,
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


@app.command()
def validate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders.", show_default="tasks")
    ] = None,
    tasks: Tasks = None,
    as_json: Json = False,
) -> None:
    """Load task files and print what is wrong with them; exit code 2 if anything is."""
    from zquant_flow.cli.validate import validate as run_validate

    sys.exit(run_validate(paths or [], tasks_dir=tasks, as_json=as_json))


@app.command("next")
def next_(
    target: Annotated[str, typer.Argument(help="A cron expression, or the name of a task.")],
    tz: Annotated[str | None, typer.Option("--tz", help="Zone of the expression.")] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", help="Look from this instant on.", show_default="now")
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many.")] = 5,
    tasks: Tasks = None,
    as_json: Json = False,
) -> None:
    """The next fire times of a cron expression or task."""
    from zquant_flow.cli.next import show_next

    sys.exit(show_next(target, tz=tz, start=start, count=count, tasks_dir=tasks, as_json=as_json))


@app.command()
def schema() -> None:
    """The JSON Schema of task files, for editors."""
    import json

    from zquant_flow.definitions.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """The entry point. Errors of ours are one line and exit code 2; Ctrl-C is 130."""
    from zquant_flow.errors import ZquantFlowError

    try:
        app()
    except ZquantFlowError as error:
        typer.echo(f"error: {error.detail}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
