"""What comes from outside and starts tasks? Requests to webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zquant_flow.core.expressions import compute
from zquant_flow.core.model import Webhook
from zquant_flow.core.params import checked
from zquant_flow.core.references import resolve
from zquant_flow.core.status import TriggerType
from zquant_flow.engine import rows
from zquant_flow.engine.controls import Controls
from zquant_flow.engine.events import QUEUE_LIMIT
from zquant_flow.engine.keys import Key
from zquant_flow.engine.memory import Task
from zquant_flow.errors import Conflict, ExpressionError, HookNotFound, ParamsError, WrongState
from zquant_flow.store import queries
from zquant_flow.wording import say


class Arrivals(Controls):
    """Operations for what comes from outside."""

    def call_hook(self, task_id: int, event: Mapping[str, Any], *, actor: str, key: Key | None = None) -> int:
        """Start an execution for a request to the task's webhook; its id. While the task is busy, or paused, it waits.

        Raises HookNotFound, WrongState (disabled), Conflict (as many wait as may), ParamsError.
        """

        def work() -> int:
            self._refuse_resting()
            if (answer := self._engine.keys.answer(key)) is not None:
                return int(answer["execution_id"])
            task = self._task(task_id)
            params = _params_of(_hook_of(task), event)
            checked(task.definition.param_specs, task.definition.params, params)  # before anything is decided
            _refuse_idle(task)
            execution = self._lifecycle.create(
                task,
                TriggerType.EVENT,
                actor=actor,
                params=params,
                event=event,
                wait=len(task.active) >= task.limit,
            )
            self._note("hook", actor, task_id=task_id, execution_id=execution.id)
            self._engine.keys.note(key, {"execution_id": execution.id})
            return execution.id

        return int(self._call(work))

    def rotate_hook(self, task_id: int, *, actor: str) -> int:
        """Give the task's webhook another secret; the generation that it is made from. Raises HookNotFound."""

        def work() -> int:
            task = self._task(task_id)
            _hook_of(task)
            row = queries.task_row(self._engine.database, task_id)
            assert row is not None
            generation = int(row.hook_generation) + 1
            self._memory.batch.hooks.append(rows.rotated(self._memory, task, generation, actor))
            self._note("rotate_hook", actor, task_id=task_id)
            return generation

        return int(self._call(work))


def _hook_of(task: Task) -> Webhook:
    if task.definition.webhook is None:
        raise HookNotFound(say("task {name!r} has no webhook: give it one by `webhook`", name=task.name))
    return task.definition.webhook


def _params_of(hook: Webhook, event: Mapping[str, Any]) -> dict[str, Any]:
    """What the request gives the task. Raises ParamsError that names the param."""
    found: dict[str, Any] = {}
    for name, value in hook.params.items():
        try:
            found[name] = resolve(value, {"event": event}, compute)
        except (ExpressionError, ParamsError) as exc:
            raise ParamsError(
                say("{name}: {error}", name=name, error=exc.detail), field=f"params.{name}"
            ) from exc
    return found


def _refuse_idle(task: Task) -> None:
    """What is disabled takes nothing from outside; nor does one where as many wait as may."""
    if not task.enabled:
        raise WrongState(say("task {name!r} is disabled; its webhook takes nothing", name=task.name))
    if len(task.queue) + len(task.held) >= QUEUE_LIMIT:
        raise Conflict(
            say("task {name!r} has {count} executions waiting already", name=task.name, count=QUEUE_LIMIT)
        )
