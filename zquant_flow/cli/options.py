"""Which arguments and options do commands share?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zquant_flow.cli.completion import task_names
from zquant_flow.cli.language import t

Tasks = Annotated[Path | None, typer.Option("--tasks", help=t("Watched folder."), show_default="tasks")]
CalendarsDir = Annotated[
    Path | None,
    typer.Option("--calendars", help=t("Folder of calendars of one's own."), show_default="calendars"),
]
PluginsDir = Annotated[
    Path | None, typer.Option("--plugins", help=t("Folder of plugin files."), show_default="plugins")
]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="MODULE", help=t("Load this module as a plugin too; may come again.")),
]
BlockedPlugins = Annotated[
    list[str] | None,
    typer.Option("--block-plugin", metavar="NAME", help=t("Leave this plugin out; may come again.")),
]
Data = Annotated[
    Path | None, typer.Option("--data", help=t("Database, logs, token."), show_default=".zquant-flow")
]
Zone = Annotated[
    str | None, typer.Option("--timezone", help=t("Default zone."), show_default=t("the machine's"))
]
Json = Annotated[bool, typer.Option("--json", help=t("JSON for scripts."))]
Ids = Annotated[bool, typer.Option("--quiet", help=t("Only ids, one a line."))]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help=t("Address of a server."),
        show_default=t("the one of the data folder"),
    ),
]
Params = Annotated[
    list[str] | None, typer.Option("-p", "--param", metavar="NAME=VALUE", help=t("NAME=VALUE, JSON or text."))
]
Wait = Annotated[bool, typer.Option("--wait", help=t("Wait for the end; the exit code tells it."))]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=t("Don't ask."))]
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="KEY", help=t("The same key makes no second execution.")),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help=t("From this instant on, or `2h`, `3d` back."))
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help=t("Before this instant, or `2h`, `3d` back."))
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help=t("At most so many."))]
Text = Annotated[str | None, typer.Option("-q", metavar="TEXT", help=t("With this text in the name."))]
Tag = Annotated[str | None, typer.Option("--tag", help=t("With this tag."))]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help=t("Why; it is kept."))]

TaskRef = Annotated[str, typer.Argument(help=t("Id or name of a task."), autocompletion=task_names)]
TaskRefs = Annotated[list[str], typer.Argument(help=t("Ids or names of tasks."), autocompletion=task_names)]
ExecutionId = Annotated[int, typer.Argument(min=1, help=t("Id of an execution."))]
ExecutionIds = Annotated[list[int], typer.Argument(min=1, help=t("Ids of executions."))]
