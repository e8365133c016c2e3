"""Commands that keep a project in order: plugins, the database, new files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zquant_flow.cli.language import t
from zquant_flow.cli.options import Data, Ids, Json, Server

plugins = typer.Typer(help=t("Which plugins there are."), no_args_is_help=True, rich_markup_mode=None)
database = typer.Typer(
    help=t("The database: schema, backup and restore, and what of the past may go."),
    no_args_is_help=True,
    rich_markup_mode=None,
)
new = typer.Typer(
    help=t("Begin a file: commented, and loadable as it is."), no_args_is_help=True, rich_markup_mode=None
)

_STATES = {"active": "green", "failed": "red", "switched_off": "red", "blocked": "dim"}
Name = Annotated[str, typer.Argument(help=t("Its name."))]
Python = Annotated[bool, typer.Option("--python", help=t("A Python file instead of YAML."))]
Folder = Annotated[
    Path | None,
    typer.Option("--dir", file_okay=False, help=t("Where to put it."), show_default=t("the tasks folder")),
]
PackageFolder = Annotated[
    Path | None,
    typer.Option("--dir", file_okay=False, help=t("Where to put it."), show_default=t("the working folder")),
]


@plugins.command("list", help=t("The plugins, their executors and hooks."))
def list_plugins(as_json: Json = False, quiet: Ids = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.tables import Cell, print_ids, print_json, print_table

    with connected(server, data) as client:
        page = client.list_plugins()
    if as_json:
        print_json(page)
    elif quiet:
        print_ids(plugin.name for plugin in page.plugins)
    else:
        print_table(
            [t("name"), t("version"), t("from"), t("state"), t("executors"), t("notifiers"), t("hooks")],
            [
                (
                    plugin.name,
                    plugin.version or "",
                    plugin.source,
                    Cell(plugin.state, _STATES.get(plugin.state, "")),
                    ", ".join(plugin.executors),
                    ", ".join(plugin.notifiers),
                    ", ".join(plugin.hooks),
                )
                for plugin in page.plugins
            ],
        )
        for plugin in page.plugins:
            if plugin.error:
                typer.echo(t("{name}: {error}", name=plugin.name, error=plugin.error), err=True)


@database.command(help=t("The schema found and the newest; exit code 1 if they differ."))
def current(as_json: Json = False, data: Data = None) -> None:
    from zquant_flow.cli.database import show_current

    sys.exit(show_current(data=data, as_json=as_json))


@database.command(help=t("Bring the schema to the newest; a copy of an SQLite file is made first."))
def upgrade(data: Data = None) -> None:
    from zquant_flow.cli.database import upgrade as run_upgrade

    sys.exit(run_upgrade(data=data))


Backup = Annotated[Path, typer.Argument(metavar="FILE", help=t("The file of the backup."))]


@database.command(help=t("Write the whole database to a new file, also while a server works."))
def backup(
    file: Backup,
    logs: Annotated[bool, typer.Option("--logs", help=t("The logs too, in FILE.logs.tar."))] = False,
    data: Data = None,
) -> None:
    from zquant_flow.cli.backups import backup as run_backup

    sys.exit(run_backup(file, data=data, logs=logs))


@database.command(
    help=t("Put a backup in the place of the database, which is kept. Refused while a server works.")
)
def restore(
    file: Backup,
    logs: Annotated[bool, typer.Option("--logs", help=t("The logs too, from FILE.logs.tar."))] = False,
    data: Data = None,
) -> None:
    from zquant_flow.cli.backups import restore as run_restore

    sys.exit(run_restore(file, data=data, logs=logs))


@database.command(help=t("Delete old executions and logs: by these limits, without them by the settings."))
def prune(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="SPAN", help=t("Executions that ended before 30d, 12h.")),
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help=t("Of each task all but so many newest executions."))
    ] = None,
    logs_older_than: Annotated[
        str | None,
        typer.Option("--logs-older-than", metavar="SPAN", help=t("Logs last written before 30d, 12h.")),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("Only show what would go."))] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    from zquant_flow.cli.pruning import prune as run_prune

    sys.exit(
        run_prune(
            data=data,
            older_than=older_than,
            keep=keep,
            logs_older_than=logs_older_than,
            dry_run=dry_run,
            as_json=as_json,
        )
    )


@new.command(help=t("A task."))
def task(name: Name, python: Python = False, folder: Folder = None) -> None:
    from zquant_flow.cli.beginning import new_file

    new_file("task", name, python=python, folder=folder)


@new.command(help=t("A workflow of two nodes."))
def workflow(name: Name, python: Python = False, folder: Folder = None) -> None:
    from zquant_flow.cli.beginning import new_file

    new_file("workflow", name, python=python, folder=folder)


@new.command(help=t("A plugin: a package with an executor and its tests."))
def plugin(name: Name, folder: PackageFolder = None) -> None:
    from zquant_flow.cli.new_plugin import new_plugin

    new_plugin(name, folder=folder)
