"""Commands about bearer tokens: who besides the admin may come in."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from zquant_flow.cli.language import t
from zquant_flow.cli.options import Data, Ids, Json, Server

app = typer.Typer(help=t("Make, list and revoke bearer tokens."), no_args_is_help=True, rich_markup_mode=None)


@app.command(help=t("Make a token, and print it: this once, and never again."))
def create(
    name: Annotated[str, typer.Argument(help=t("Who or what will use it."))],
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="WHEN",
            help=t("An instant, or a span from now such as 30d."),
            show_default=t("never"),
        ),
    ] = None,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.instants import instant
    from zquant_flow.cli.tables import note, print_json

    until = instant(expires, "--expires", ahead=True)
    with connected(server, data) as client:
        made = client.create_token(name, expires_time=until)
    if as_json:
        print_json(made)
        return
    sys.stdout.write(f"{made.token}\n")
    note(
        t(
            "token {id} of {name}; it is shown this once: keep it where only {name} reads it",
            id=made.id,
            name=made.name,
        )
    )


@app.command("list", help=t("The tokens that are valid."))
def list_(as_json: Json = False, quiet: Ids = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.instants import moment
    from zquant_flow.cli.tables import note, print_ids, print_json, print_table

    with connected(server, data) as client:
        page = client.list_tokens()
    if as_json:
        print_json(page)
    elif quiet:
        print_ids(token.id for token in page.tokens)
    elif not page.tokens:
        note(t("there are none; `zquant-flow tokens create NAME` makes one"))
    else:
        print_table(
            [t("id"), t("name"), t("made by"), t("made"), t("ends")],
            [
                (
                    str(token.id),
                    token.name,
                    token.created_by,
                    moment(token.created_time),
                    moment(token.expires_time) or t("never"),
                )
                for token in page.tokens
            ],
        )


@app.command(help=t("End tokens at once."))
def revoke(
    tokens: Annotated[list[str], typer.Argument(metavar="NAME_OR_ID...", help=t("Ids or names of tokens."))],
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.many import each, report
    from zquant_flow.errors import TokenNotFound
    from zquant_flow.wording import say

    with connected(server, data) as client:
        known = client.list_tokens().tokens
        found: dict[int, str] = {}
        for word in tokens:
            matching = {token.id: token.name for token in known if word in (token.name, str(token.id))}
            if not matching:
                raise TokenNotFound(say("no token has the name or id {word!r}", word=word))
            found |= matching

        def act(id_: int) -> str:
            client.revoke_token(id_)
            return ""

        results = each(found.items(), act)
    sys.exit(report(results, t("revoked"), t("failed"), as_json=as_json))
