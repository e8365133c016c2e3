"""What does a simulation answer? The promise of `GET /simulate`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class SimulatedTaskOut(BaseModel):
    """A task in the span: its fires, the executions that come of them, and how long each takes.

    `assumed`: it never succeeded, so that its durations are a guess; `steady`: it fires so often that it counts as an even
    load.
    """

    task_id: int
    name: str
    fires: int
    executions: int
    usual_seconds: float
    slow_seconds: float
    assumed: bool
    steady: bool


class FindingOut(BaseModel):
    """Something that will happen to a task: `count` times, `first` and `last` when; `worst_seconds`: how long it waits, or is late.

    `by`: the tasks that hold what it waits for; `slow_only`: only where executions take as long as their slowest do.
    """

    kind: str
    task_id: int
    task: str
    pool: str | None
    by: list[str]
    first: datetime
    last: datetime
    count: int
    worst_seconds: float
    slow_only: bool
    detail: str


class BusyOut(BaseModel):
    """An hour, and the share of all slots that is in use in it."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    share: float


class PeakOut(BaseModel):
    """The most slots in use at once, and the first instant at which they are."""

    slots: int
    time: datetime | None


class HorizonOut(BaseModel):
    """A task whose calendar is known until then only: what fires later is not in the answer."""

    task: str
    until: datetime | None


class SimulationOut(BaseModel):
    """What would fire and run in a span. Nothing was written for it.

    `hours`: the share of all slots in use by the hour of the day, 24 of them, in `timezone`; `busiest`: single hours, the
    busiest first. `idle` tasks are disabled or paused, of `unknown` ones nobody can say when they will be started.
    """

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    timezone: str
    slots: int
    fires: int
    executions: int
    tasks: list[SimulatedTaskOut]
    findings: list[FindingOut]
    peak: PeakOut
    hours: list[float]
    busiest: list[BusyOut]
    idle: list[str]
    unknown: list[str]
    horizon: list[HorizonOut]
