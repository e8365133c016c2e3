"""Commands about channels: the ways by which people are told of what happens."""

from __future__ import annotations

from typing import Annotated

import typer

from zquant_flow.cli.language import t
from zquant_flow.cli.options import Data, Ids, Json, Server

app = typer.Typer(
    help=t("List and try the channels that notifications are sent by."),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", help=t("The channels, and how sending went."))
def list_(as_json: Json = False, quiet: Ids = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.tables import Cell, note, print_ids, print_json, print_table

    with connected(server, data) as client:
        page = client.list_channels()
    if as_json:
        print_json(page)
    elif quiet:
        print_ids(channel.name for channel in page.channels)
    elif not page.channels:
        note(t("there are none; docs/notifications.md says how the settings make one"))
    else:
        print_table(
            [t("name"), t("type"), t("ready"), t("sent"), t("failed"), t("waiting"), t("last error")],
            [
                (
                    channel.name,
                    channel.type,
                    Cell(t("yes"), "green") if channel.ready else Cell(t("no"), "red"),
                    str(channel.sent),
                    str(channel.failed),
                    str(channel.waiting),
                    channel.error or channel.last_error or "",
                )
                for channel in page.channels
            ],
        )


@app.command("test", help=t("Send a message by a channel, once; exit code 1 if it did not get there."))
def try_(
    name: Annotated[str, typer.Argument(help=t("Its name in the settings."))],
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.tables import note, print_json

    with connected(server, data) as client:
        done = client.test_channel(name)
    if as_json:
        print_json(done)
    elif done.sent:
        note(t("channel {name}: sent", name=name))
    else:
        typer.echo(t("channel {name}: not sent: {error}", name=name, error=done.error), err=True)
    if not done.sent:
        raise typer.Exit(1)
