"""What does the engine tell the backend, and what does it hear?

Orders out, outcomes, progress and acknowledgements in. What can't be ordered fails by itself; a backend that is gone loses
its attempts and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from zquant_flow.core.status import Status
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.large_results import LargeResults
from zquant_flow.engine.lifecycle import Effects, Lifecycle
from zquant_flow.engine.memory import Execution, Filed, Memory
from zquant_flow.engine.orders import Orders
from zquant_flow.engine.workflows import looks_into
from zquant_flow.errors import ExpressionError, RunnerUnavailable, ZquantFlowError

log = logging.getLogger(__name__)

Frame = dict[str, Any]


class Backend(Protocol):
    """A place where attempts run. Its calls come from the engine's thread."""

    def start(self) -> Frame: ...
    def start_attempts(self, orders: Sequence[Frame], acknowledged: Sequence[tuple[int, int]]) -> None: ...
    def terminate(
        self, execution_id: int, attempt: int, kind: str = ..., grace: float | None = ...
    ) -> None: ...
    def pause(self, execution_id: int, attempt: int) -> None: ...
    def resume(self, execution_id: int, attempt: int) -> None: ...
    def forget_spool(self) -> None: ...
    def stop(self, keep_attempts: bool) -> None: ...


class Worker:
    """The engine's side of the backend. Owned by the engine's thread.

    `remove_state` removes what the attempts of an execution have kept; `large` are the results that lie in files.
    """

    def __init__(
        self,
        memory: Memory,
        lifecycle: Lifecycle,
        dispatcher: Dispatcher,
        orders: Orders,
        backend: Backend,
        remove_state: Callable[[int], None],
        large: LargeResults,
    ) -> None:
        self._large = large
        self._memory = memory
        self._lifecycle = lifecycle
        self._dispatcher = dispatcher
        self._orders = orders
        self.backend = backend
        self._remove_state = remove_state

    def orders_for(self, effects: Effects) -> list[Frame]:
        """The orders of the attempts that start; what can't be ordered fails in this same turn."""
        orders: list[Frame] = []
        done = 0
        while done < len(effects.start):
            execution = effects.start[done]
            done += 1
            try:
                orders.append(self._orders.order(execution))
            except ExpressionError as error:
                self._refuse_order(execution, "invalid_template", error.detail)
            except ZquantFlowError as error:
                self._refuse_order(execution, error.code, error.detail)
            except Exception as error:
                log.exception("no order for execution %d", execution.id, extra={"action": "order_failed"})
                self._refuse_order(execution, "order_failed", f"{type(error).__name__}: {error}")
        return orders

    def _refuse_order(self, execution: Execution, code: str, why: str) -> None:
        self._dispatcher.release(execution)
        self._lifecycle.fail(execution, code, why)
        self._lifecycle.dispatch()

    def act(self, effects: Effects, orders: list[Frame]) -> None:
        """What the batch has decided happens. A runner that is gone says so by itself; its attempts are lost then."""
        try:
            self._hand_over(effects, orders)
        except RunnerUnavailable as error:
            log.warning("%s", error.detail, extra={"action": "runner_away"})
        for execution_id in effects.succeeded:
            self._remove_state(execution_id)
        for filed, execution_id in effects.copies:
            self._copy(filed, execution_id)

    def _copy(self, filed: Filed, execution_id: int) -> None:
        """What can't be done is only said: until the earlier execution goes, the result is read from there."""
        try:
            self._large.copy(filed, execution_id)
        except OSError as error:
            log.warning(
                "no result for execution %d: %s", execution_id, error, extra={"action": "copy_failed"}
            )

    def _hand_over(self, effects: Effects, orders: list[Frame]) -> None:
        if orders or effects.acknowledge:
            self.backend.start_attempts(orders, effects.acknowledge)
        for execution, kind in effects.terminate:
            self.backend.terminate(execution.id, execution.retry_count + 1, kind)
        for execution in effects.pause:
            self.backend.pause(execution.id, execution.retry_count + 1)
        for execution in effects.resume:
            self.backend.resume(execution.id, execution.retry_count + 1)

    def take(self, frame: Frame) -> None:
        op = frame["op"]
        if op == "outcomes":
            for outcome in frame["items"]:
                if "result_size" not in outcome or not self._reads_first(outcome):
                    self._lifecycle.take_outcome(outcome)
        elif op == "progress":
            for facts in frame["items"]:
                self._lifecycle.progressed(facts)
        elif op in ("paused", "resumed"):
            self._take_acknowledgements(frame["items"], Status.PAUSED if op == "paused" else Status.RUNNING)

    def _reads_first(self, outcome: Frame) -> bool:
        """Whether it is taken only when its result has been read, which is done beside the engine's thread."""
        workflows, execution = self._lifecycle.workflows, self._memory.executions.get(outcome["id"])
        parent = execution and execution.parent
        if workflows.aside is None or execution is None or parent is None or parent.run is None:
            return False
        if not looks_into(parent.run, execution.node):
            return False
        filed = Filed((execution.id,), outcome["result_size"])
        workflows.aside(
            lambda: outcome.update(filed=self._large.read(filed)),
            lambda: self._lifecycle.take_outcome(outcome),
        )
        return True

    def _take_acknowledgements(self, items: Sequence[Sequence[int]], status: Status) -> None:
        for execution_id, attempt in items:
            execution = self._memory.executions.get(execution_id)
            if execution is not None and execution.retry_count + 1 == attempt:
                self._lifecycle.acknowledged(execution, status)

    def restart(self) -> bool:
        """The runner died: what it carried is lost, what it had written down is not. False where none can be started."""
        log.error("the runner is gone; starting another", extra={"action": "runner_lost"})
        try:
            hello = self.backend.start()
        except RunnerUnavailable as error:
            log.error("%s; trying again", error.detail, extra={"action": "runner_unavailable"})
            return False
        alive = {(id_, attempt) for id_, attempt in hello["attempts"]}
        for outcome in hello["outcomes"]:
            self._lifecycle.take_outcome(outcome)
        for execution in list(self._memory.executions.values()):
            self._lose(execution, alive)
        return True

    def _lose(self, execution: Execution, alive: set[tuple[int, int]]) -> None:
        key = (execution.id, execution.retry_count + 1)
        if execution.run is not None or key in alive:
            return
        if execution.status in (Status.RUNNING, Status.PAUSED):
            self._lifecycle.lost(execution, "the runner died")
