"""Commands about pools: named limits that tasks share."""

from __future__ import annotations

from typing import Annotated

import typer

from zquant_flow.cli.language import t
from zquant_flow.cli.options import Data, Ids, Json, Server

app = typer.Typer(
    help=t("List, set and delete pools: limits that tasks share."),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", help=t("The pools, and who holds their places."))
def list_(as_json: Json = False, quiet: Ids = False, server: Server = None, data: Data = None) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.tables import note, print_ids, print_json, print_table

    with connected(server, data) as client:
        page = client.list_pools()
    if as_json:
        print_json(page)
    elif quiet:
        print_ids(pool.name for pool in page.pools)
    elif not page.pools:
        note(t("there are none; `zquant-flow pools set NAME SLOTS` makes one"))
    else:
        print_table(
            [t("name"), t("in use"), t("slots"), t("waiting"), t("executions"), t("description")],
            [
                (
                    pool.name,
                    str(pool.used),
                    str(pool.slots),
                    str(pool.waiting),
                    ", ".join(map(str, pool.executions[:5])) + (", ..." if pool.used > 5 else ""),
                    pool.description,
                )
                for pool in page.pools
            ],
        )


@app.command("set", help=t("Make a pool, or change how many places it has; 0 stops what uses it."))
def set_(
    name: Annotated[str, typer.Argument(help=t("The name that tasks give as `pool`."))],
    slots: Annotated[int, typer.Argument(min=0, max=100_000, help=t("How many attempts may hold it."))],
    description: Annotated[str | None, typer.Option("--description", help=t("What it protects."))] = None,
    as_json: Json = False,
    server: Server = None,
    data: Data = None,
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.tables import note, print_json

    with connected(server, data) as client:
        pool = client.put_pool(name, slots, description=description)
    if as_json:
        print_json(pool)
    else:
        note(t("pool {name}: {used} of {slots} in use", name=pool.name, used=pool.used, slots=pool.slots))


@app.command(help=t("Delete a pool that no task names."))
def delete(
    name: Annotated[str, typer.Argument(help=t("Its name."))], server: Server = None, data: Data = None
) -> None:
    from zquant_flow.cli.connect import connected
    from zquant_flow.cli.tables import note

    with connected(server, data) as client:
        client.delete_pool(name)
    note(t("pool {name} is deleted", name=name))
