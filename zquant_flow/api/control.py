"""What does the API stand on? One value with all that a router may use, made by whoever serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Depends, Request

from zquant_flow.definitions.registry import Registry
from zquant_flow.engine.authored import Authored
from zquant_flow.engine.folder import TasksFolder
from zquant_flow.engine.operations import Operations
from zquant_flow.engine.service import Engine
from zquant_flow.store.database import Database


@dataclass(slots=True)
class Control:
    """The parts of a running scheduler, as the API sees them."""

    engine: Engine
    operations: Operations
    authored: Authored
    folder: TasksFolder
    database: Database
    data_dir: Path
    zone: ZoneInfo
    token: str
    locale: str = "en"
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        """The current definitions."""
        return self.operations.registry


def control_of(request: Request) -> Control:
    """The control that this application was made with."""
    control: Control = request.app.state.control
    return control


Ctl = Annotated[Control, Depends(control_of)]
