"""How does one test without waiting? A clock with hands, a backend that does what the test says, an engine around both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from zquant_flow.core.instants import to_micros
from zquant_flow.core.model import Action, Node, TaskDef, TaskType, Workflow
from zquant_flow.definitions.loader import LoadedDefinition, LoadedFile
from zquant_flow.engine.operations import Operations
from zquant_flow.engine.service import Engine
from zquant_flow.store import queries
from zquant_flow.store.database import Database

Frame = dict[str, Any]


class FakeClock:
    """A clock that stands until it is moved. `advance` moves both hands, `step` only the wall's."""

    def __init__(self, now: datetime = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def micros(self) -> int:
        return to_micros(self._now)

    def monotonic(self) -> float:
        return self._monotonic

    def local(self, instant: datetime) -> datetime:
        return instant

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Somebody turns the wall clock."""
        self._now += timedelta(seconds=seconds)


class FakeBackend:
    """Keeps orders; the test ends them. It survives its engine, as a runner does."""

    def __init__(self) -> None:
        self.orders: list[Frame] = []
        self.active: dict[int, Frame] = {}
        self.terminated: list[tuple[int, str]] = []
        self.kept: list[Frame] = []
        self.on_event: Callable[[Frame], None] = lambda frame: None
        self._lock = threading.Lock()

    def attach(self, on_event: Callable[[Frame], None], on_lost: Callable[[], None]) -> FakeBackend:
        self.on_event = on_event
        return self

    def start(self) -> Frame:
        alive = [[order["id"], order["attempt"]] for order in self.active.values()]
        return {"attempts": alive, "outcomes": list(self.kept)}

    def start_attempts(self, orders: Sequence[Frame], acknowledged: Sequence[tuple[int, int]]) -> None:
        gone = set(map(tuple, acknowledged))
        self.kept = [outcome for outcome in self.kept if (outcome["id"], outcome["attempt"]) not in gone]
        with self._lock:
            self.orders += orders
            self.active |= {order["id"]: order for order in orders}

    def terminate(
        self, execution_id: int, attempt: int, kind: str = "terminated", grace: float | None = None
    ) -> None:
        self.terminated.append((execution_id, kind))
        if execution_id in self.active:
            self.end(execution_id, kind)

    def pause(self, execution_id: int, attempt: int) -> None:
        self.on_event({"op": "paused", "items": [[execution_id, attempt]]})

    def resume(self, execution_id: int, attempt: int) -> None:
        self.on_event({"op": "resumed", "items": [[execution_id, attempt]]})

    def forget_spool(self) -> None: ...

    def stop(self, keep_attempts: bool) -> None: ...

    def end(self, execution_id: int, kind: str = "success", **facts: Any) -> None:
        """End the active attempt of an execution."""
        with self._lock:
            order = self.active.pop(execution_id)
        outcome = {
            "id": execution_id,
            "attempt": order["attempt"],
            "kind": kind,
            "started": 1,
            "ended": 2,
            "seconds": 0.001,
            **facts,
        }
        self.kept.append(outcome)
        self.on_event({"op": "outcomes", "items": [outcome]})

    def node(self, name: str) -> int:
        """The execution id of the active attempt of this node."""
        return next(id_ for id_, order in self.active.items() if order.get("node") == name)


class Harness:
    """An engine over a folder, with hands on its clock and its backend. `with Harness(tmp_path) as h:`"""

    def __init__(
        self,
        folder: Path,
        *,
        slots: int = 10,
        zone: str = "UTC",
        url: str | None = None,
        clock: FakeClock | None = None,
        **options: Any,
    ) -> None:
        """`url`: of the database; an SQLite file in the folder without. Engines that share one share a `clock` too."""
        self.folder = folder
        self._url = url or f"sqlite:///{folder / 'test.db'}"
        self.clock = clock or FakeClock()
        self.backend = FakeBackend()
        self._options = {"slots": slots, "zone": ZoneInfo(zone), "shutdown_grace": 0.0, **options}
        self._numbers = 0
        self._make()

    def _make(self) -> None:
        self.database = Database(self._url)
        self.engine = Engine(
            database=self.database,
            backend=self.backend.attach,
            clock=self.clock,
            tasks_dir=self.folder / "tasks",
            data_dir=self.folder / "data",
            with_bell=False,
            **self._options,
        )
        self.operations = Operations(self.engine)

    def __enter__(self) -> Harness:
        self.engine.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.stop(keep_attempts=True)
        self.database.close()

    def restart(self, *, kill: bool = True) -> None:
        """Leave the engine as a crash would (its memory is gone, the backend lives on) and start another."""
        self.engine.stop(keep_attempts=kill)
        self.database.close()
        self._make()
        self.engine.start()

    def define(self, *tasks: TaskDef, path: str | None = None) -> list[int]:
        """Register these tasks as one file; their ids."""
        self._numbers += 1
        loaded = tuple(
            LoadedDefinition(task=task, line=1, document=number, warnings=())
            for number, task in enumerate(tasks)
        )
        file = LoadedFile(
            path=path or f"{tasks[0].name}.yaml",
            kind="tasks",
            digest=str(self._numbers),
            size=1,
            mtime_ns=1,
            definitions=loaded,
            errors=(),
            dependencies={},
            bundle=None,
        )
        self.operations.register([file])
        by_name = self.operations.registry.by_name
        return [by_name[task.name].id for task in tasks if task.name in by_name]

    def settle(self) -> None:
        """Wait until everything posted so far has been decided and committed."""
        self.engine.call(lambda: None)

    def hear(self) -> None:
        """Read what other engines have said, and obey it."""
        self.engine.hear(None)
        self.settle()

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass and ring the bell."""
        self.clock.advance(seconds)
        self.engine.ring()
        self.settle()

    def end(self, execution_id: int, kind: str = "success", **facts: Any) -> None:
        """End an attempt and wait until the engine has taken it."""
        self.backend.end(execution_id, kind, **facts)
        self.settle()

    def status(self, execution_id: int) -> str:
        """The status of an execution, as the database has it."""
        row = queries.execution_row(self.database, execution_id)
        assert row is not None
        return str(row.status)

    def nodes(self, execution_id: int) -> dict[str, str]:
        """The statuses of a workflow's nodes that have rows."""
        row = queries.execution_row(self.database, execution_id)
        return {child.node: child.status for child in queries.children_of(self.database, row)}


def command_task(name: str, **keys: Any) -> TaskDef:
    """A task that runs `true`; `keys` are fields of TaskDef."""
    action = keys.pop("action", Action(executor="command", config={"command": "true"}))
    kind = TaskType.COMMON if keys.get("schedule") else TaskType.MANUAL
    return TaskDef(name=name, task_type=kind, action=action, **keys)


def workflow_task(name: str, nodes: Sequence[Node], **keys: Any) -> TaskDef:
    """A workflow of these nodes; `keys` are fields of Workflow, `schedule` and `overlap` of TaskDef."""
    outer = {key: keys.pop(key) for key in ("schedule", "overlap", "params", "after") if key in keys}
    return TaskDef(
        name=name, task_type=TaskType.WORKFLOW, workflow=Workflow(nodes=tuple(nodes), **keys), **outer
    )


def command_node(name: str, *dependencies: str, **keys: Any) -> Node:
    """A node that runs `true`."""
    action = (
        None if "task" in keys else keys.pop("action", Action(executor="command", config={"command": "true"}))
    )
    return Node(name=name, dependencies=dependencies, action=action, **keys)
