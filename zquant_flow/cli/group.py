"""Which commands do plugins add? They are looked for when a name is not one of ours, and for the list of all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import typer
from typer.core import TyperGroup


class Group(TyperGroup):
    """Our commands, then those of plugins; a name of ours stays ours."""

    def list_commands(self, ctx: Any) -> list[str]:
        ours = super().list_commands(ctx)
        return [*ours, *sorted(_of_plugins().keys() - set(ours))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or _of_plugins().get(cmd_name)


@cache
def _of_plugins() -> Mapping[str, Any]:
    from zquant_flow.config import load_settings
    from zquant_flow.errors import BadRequest
    from zquant_flow.plugin.discovery import find_plugins
    from zquant_flow.plugin.sources import Sources

    try:
        sources = Sources.of(load_settings())
    except BadRequest:
        return {}  # the command that is meant says what is wrong
    if not any(find_plugins(sources)):
        return {}
    from zquant_flow.executors.installed import installed

    found: dict[str, Any] = {}
    for _, commands in installed(sources).each("register_commands"):
        for made in commands:
            if isinstance(made.info.name, str):
                command = typer.main.get_command(made)
                command.name = made.info.name
                found.setdefault(made.info.name, command)
    return found
