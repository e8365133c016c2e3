"""Who is told of what has happened? Reads the steps of executions off the engine's thread, and hands them to channels.

The engine that commits a step tells of it. What was committed and not yet sent when a server dies is not told: at most once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zquant_flow.config import Settings
from zquant_flow.core.model import TaskDef
from zquant_flow.core.notify import WANTED, Notice, Notify, notice_of
from zquant_flow.core.status import Status
from zquant_flow.definitions.notifications import unknown_channels
from zquant_flow.engine.operations import Operations
from zquant_flow.notifiers.channels import Channels, unknown_channel
from zquant_flow.notifiers.texts import Occurrence
from zquant_flow.plugin.events import DefinitionChange, ExecutionChange
from zquant_flow.store.database import Database
from zquant_flow.store.queries import attempt_fault, ended_before

if TYPE_CHECKING:
    from zquant_flow.engine.service import Engine

log = logging.getLogger(__name__)

_NOBODY = Notify()


class Notifying:
    """Turns steps into messages. Used by the thread of an observer; it may read the database, and waits for no channel."""

    def __init__(
        self, channels: Channels, engine: Engine, operations: Operations, database: Database
    ) -> None:
        self._channels, self._rules = channels, channels.settings.rules
        self._engine, self._operations, self._database = engine, operations, database
        self.hooks: Mapping[str, Callable[[Sequence[Any]], None]] = {
            "executions_changed": self.hear,
            "definitions_changed": self.hear_definitions,
        }

    def hear(self, changes: Sequence[ExecutionChange]) -> None:
        """Tell of those that somebody wants to hear of."""
        for change in changes:
            notice = notice_of(change.what, change.status, change.error_code)
            if notice is None or _was_taken_over(change):
                continue
            try:
                self._tell(change, notice)
            except Exception:
                log.exception(
                    "nobody could be told of execution %d",
                    change.execution_id,
                    extra={"action": "notifying_failed"},
                )

    def hear_definitions(self, changes: Sequence[DefinitionChange]) -> None:
        """Warn of channels that are named and not there."""
        known = self._channels.names
        for change in changes:
            if change.what == "removed":
                continue
            for name in unknown_channels(change.definition, known):
                log.warning(
                    "task %s is to be told by: %s",
                    change.task,
                    unknown_channel(name, known),
                    extra={"action": "unknown_channel"},
                )

    def _tell(self, change: ExecutionChange, notice: Notice) -> None:
        definition = self._definition(change.task_id)
        notify = _notify_of(definition, change)
        told = set[str]()
        for kind in (Notice.RECOVERY, notice) if notice is Notice.SUCCESS else (notice,):
            names = [
                name
                for name in dict.fromkeys((*self._by_rules(change, definition, kind), *notify.of(kind)))
                if name not in told
            ]
            if not names or (kind is Notice.RECOVERY and not self._recovers(change)):
                continue
            occurrence = self._occurrence(change, kind)
            for name in names:
                self._channels.tell(name, occurrence)
            told.update(names)

    def _by_rules(self, change: ExecutionChange, definition: TaskDef | None, notice: Notice) -> Iterator[str]:
        """Whom the settings name; they speak of whole executions, never of nodes."""
        if not change.is_root:
            return
        tags = definition.tags if definition is not None else ()
        for rule in self._rules:
            if notice in rule.on and (not rule.tags or not set(rule.tags).isdisjoint(tags)):
                yield from rule.channels

    def _definition(self, task_id: int) -> TaskDef | None:
        """What the task says now: of one that is not registered, as it was run."""
        entry = self._operations.registry.by_id.get(task_id)
        if entry is not None:
            return entry.definition
        memory = self._engine.memory
        task = memory.tasks.get(task_id) or memory.archived.get(task_id)
        return None if task is None else task.definition

    def _recovers(self, change: ExecutionChange) -> bool:
        if change.inline:
            return False
        before = ended_before(self._database, change.task_id, change.execution_id, wanted=WANTED)
        return before not in (None, Status.SUCCESS.value)

    def _occurrence(self, change: ExecutionChange, notice: Notice) -> Occurrence:
        attempt, code, error = change.attempt, change.error_code, change.error_message
        if notice is Notice.RETRY:
            attempt -= 1  # the step is about the next one
            code, error = attempt_fault(self._database, change.execution_id, attempt)
        return Occurrence(
            notice=notice,
            execution_id=change.execution_id,
            task_id=change.task_id,
            task=change.task,
            node=change.node if change.inline else None,
            status=change.status,
            at=change.at,
            attempt=attempt,
            logical_time=change.logical_time,
            trigger_type=change.trigger_type,
            error_code=code,
            error=error,
            duration_seconds=change.duration_seconds,
        )


def links(settings: Settings) -> Callable[[int], str | None]:
    """Where an execution is read: at the public address, else where clients go, else where this server listens."""

    def link(execution_id: int) -> str | None:
        base = settings.notify.public_url or settings.server_url or _own_address(settings)
        return f"{base.rstrip('/')}/api/v1/scheduler/executions/{execution_id}" if base else None

    return link


def _own_address(settings: Settings) -> str:
    try:
        return str(json.loads((settings.data_dir / "server.json").read_text())["url"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _was_taken_over(change: ExecutionChange) -> bool:
    """Whether it is a node that a resume reuses: it has done nothing."""
    return change.inline and change.status == Status.SUCCESS and change.duration_seconds is None


def _notify_of(definition: TaskDef | None, change: ExecutionChange) -> Notify:
    """What is said of it: by its task, or of a node within a workflow by that node."""
    if definition is None:
        return _NOBODY
    if not change.inline:
        return definition.notify or _NOBODY
    nodes = definition.workflow.nodes if definition.workflow is not None else ()
    return next((node.notify for node in nodes if node.name == change.node and node.notify), _NOBODY)
