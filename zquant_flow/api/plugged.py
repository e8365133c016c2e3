"""What do plugins add to the API? Routers of their own, and panels for the page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path
from fastapi.responses import Response

from zquant_flow.api.answers import Json
from zquant_flow.api.control import Ctl
from zquant_flow.api.models import PanelOut, PanelPage
from zquant_flow.api.security import signed_in
from zquant_flow.errors import NotFound, PluginFailed
from zquant_flow.plugin.panels import Panel, blocks_of
from zquant_flow.plugin.plugins import Plugins
from zquant_flow.wording import say

log = logging.getLogger(__name__)

PREFIX = "/api/v1/plugins"
router = APIRouter(tags=["system"], dependencies=[Depends(signed_in)])


def include_routers(app: FastAPI, plugins: Plugins) -> None:
    """Mount the routers of all plugins, each below its own name and behind our sign-in; one that can't be is logged."""
    for name, routers in plugins.each("register_routers"):
        try:
            for made in routers:
                app.include_router(
                    made, prefix=f"{PREFIX}/{name}", dependencies=[Depends(signed_in)], tags=[name]
                )
        except Exception:
            log.exception("plugin %s: its router can't be mounted", name, extra={"action": "plugin_failed"})


@router.get("/panels", operation_id="list_panels", response_model=PanelPage)
def list_panels(control: Ctl) -> Response:
    """The panels that plugins show on the page."""
    panels = [
        {"plugin": plugin, "name": panel.name, "title": panel.title}
        for plugin, panel in _panels(control.plugged.current)
    ]
    return Json({"panels": panels})


@router.get("/panels/{plugin}/{name}", operation_id="get_panel", response_model=PanelOut)
def get_panel(
    control: Ctl,
    plugin: Annotated[str, Path(description="The name of a plugin.")],
    name: Annotated[str, Path(description="The name of one of its panels.")],
) -> Response:
    """What a panel shows now: blocks of the types `stat`, `table`, `series`, `text` and `link`."""
    for owner, panel in _panels(control.plugged.current):
        if (owner, panel.name) == (plugin, name):
            return Json(
                {"plugin": plugin, "name": name, "title": panel.title, "blocks": _blocks(plugin, panel)}
            )
    raise NotFound(say("plugin {plugin!r} has no panel {name!r}", plugin=plugin, name=name))


def _panels(plugins: Plugins) -> Iterator[tuple[str, Panel]]:
    for plugin, panels in plugins.each("register_panels"):
        for panel in panels:
            yield plugin, panel


def _blocks(plugin: str, panel: Panel) -> list[dict[str, Any]]:
    try:
        return blocks_of(panel)
    except Exception as exc:
        log.exception("plugin %s: panel %s failed", plugin, panel.name, extra={"action": "plugin_failed"})
        why = f"{type(exc).__name__}: {exc}"
        raise PluginFailed(
            say(
                "panel {name!r} of plugin {plugin!r} failed: {error}",
                name=panel.name,
                plugin=plugin,
                error=why,
            )
        ) from exc
