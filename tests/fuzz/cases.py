"""Which requests does schemathesis make of the OpenAPI document, and what is wrong with the answers?

Commands are made harmless, ids are mostly those of things that exist, and words of definitions mostly mean something, so
that requests get further than the first check.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.world import AUTHORIZED, World

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
_PLAUSIBLE = {
    "cron": ["0 3 * * *", "@daily"],
    "cron_expression": ["*/5 * * * *", "0 3 L * *"],
    "run_at": ["2030-01-01 00:00", "2020-01-01T00:00:00+08:00"],
    "start_at": ["2024-01-01 00:00"],
    "end_at": ["2034-01-01 00:00"],
    "timezone": ["UTC", "Asia/Shanghai"],
    "interval": [60, "1h30m"],
    "interval_seconds": [60, "1h30m"],
    "shell": ["/bin/sh"],
    "python": ["nothing:here"],
    "executor": ["command", "python"],
    "task_action": ["command", "nothing"],
    "working_dir": ["."],
    "timeout": [5, "none"],
    "timeout_seconds": [5],
    "dependencies": [[], ["one"]],
    "from": ["2026-01-01T00:00:00+08:00"],
    "to": ["2026-01-03T00:00:00+08:00"],
}

_KEPT = frozenset({"name", "command", "config", "definition", "tasks", "action", "task_ids", "from", "to"})
_OBSTACLES = frozenset({"authorization", "if-match", "idempotency-key"})
LAST = ("bulk_tasks", "delete_task")
"""Operations that leave nothing for others."""


def schema_of(world: World) -> Any:
    """The document of the application, as schemathesis reads it."""
    schema = schemathesis.openapi.from_dict(world.app.openapi())
    schema.app = world.app
    return schema


def operations_of(schema: Any) -> Iterator[Any]:
    """All operations of the document, those last that take away what the others need."""
    found = [operation.ok() for operation in schema.get_all_operations()]
    yield from sorted(found, key=lambda operation: id_of(operation) in LAST)


def id_of(operation: Any) -> str:
    """Its `operationId`."""
    return str(operation.definition.raw["operationId"])


class Explorer:
    """Sends requests and looks at the answers; `sent` counts them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent = 0

    def explore(self, operation: Any, mode: GenerationMode, count: int, seed: int) -> str | None:
        """Make so many requests of an operation; the first fault with the smallest request that has it."""
        strategy = st.tuples(operation.as_strategy(generation_mode=mode), st.integers(0, 2**32))

        @hypothesis.seed(seed)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def holds(drawn: tuple[Any, int]) -> None:
            self._send(*drawn)

        try:
            with asgi.get_client(self.world.app) as self._session:
                holds()
        except Unsatisfiable:
            return None  # nothing of it can be wrong
        except (FailureGroup, AssertionError, Flaky) as fault:
            failures = getattr(fault, "exceptions", (fault,))
            told = [f"{type(failure).__name__}: {failure}" for failure in failures]
            return "\n".join([self._last.as_curl_command(), *told])
        return None

    def _send(self, case: Any, number: int) -> None:
        chance = random.Random(number)
        _tame(case.body)
        if chance.random() < 0.75:
            self._aim(case, chance)
        self.sent += 1
        self._last = case
        checks = [check for check in CHECKS if check is not response_schema_conformance or not _streams(case)]
        case.call_and_validate(session=self._session, headers=AUTHORIZED, checks=checks)

    def _aim(self, case: Any, chance: random.Random) -> None:
        """Let the request be about something that exists, and let its words mean something."""
        for name in [name for name in case.headers or () if name.lower() in _OBSTACLES]:
            del case.headers[name]
        task_id, execution_id = chance.choice(self.world.pairs)
        known = {"task_id": task_id, "execution_id": execution_id, "version": 1, "name": "command"}
        for name in case.path_parameters or ():
            case.path_parameters[name] = known.get(name, case.path_parameters[name])
        if isinstance(case.body, dict):
            _make_plausible(case.body, chance)
            if "task_ids" in case.body:
                case.body["task_ids"] = [task_id]
            for words in (case.body, case.body.get("definition")):
                if isinstance(words, dict) and "name" in words:
                    words["name"] = f"fuzz-{self.sent}"


def _streams(case: Any) -> bool:
    """Whether the answer is a stream: schemathesis holds every event against a schema that is of the whole text."""
    return str(case.operation.path).endswith("/stream")


def _make_plausible(words: Any, chance: random.Random) -> None:
    if isinstance(words, list):
        for item in words:
            _make_plausible(item, chance)
    if not isinstance(words, dict):
        return
    for key, value in list(words.items()):
        if key not in _KEPT and chance.random() < 0.6:
            del words[key]
        elif key in _PLAUSIBLE and value is not None:
            words[key] = chance.choice(_PLAUSIBLE[key])
        elif key in ("config", "definition", "tasks"):
            _make_plausible(value, chance)


def _tame(body: Any) -> None:
    """No text that was made up is run as a command, and nothing runs often."""
    if isinstance(body, list):
        for item in body:
            _tame(item)
    if not isinstance(body, dict):
        return
    for key, value in body.items():
        if key == "command" and isinstance(value, (str, list)):
            body[key] = "true" if isinstance(value, str) else ["true"]
        elif key in ("interval", "interval_seconds") and value is not None:
            body[key] = 3600 if isinstance(value, (int, float)) else value
        else:
            _tame(value)
