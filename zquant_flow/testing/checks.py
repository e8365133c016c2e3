"""Does an executor do what tasks expect of any? A suite for its author: one line, and a check for each promise.

    TestGreet = conformance(Greet, config={"who": "世界"}, long={"times": 1000}, failing={"who": ""}, loud={"who": "x" * 100_000})

Everything runs for real: the definition is loaded from a file, a worker of the runner carries it out, a database keeps it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from zquant_flow.errors import BadRequest, WrongState
from zquant_flow.logs import LIMIT
from zquant_flow.plugin.contract import Executor
from zquant_flow.runner.attempts import GRACE
from zquant_flow.testing.control import start_and_kill
from zquant_flow.testing.flow import Flow
from zquant_flow.testing.left import eventually, started_by_attempts, workers_of
from zquant_flow.testing.outcomes import Run

Config = Mapping[str, Any]

CASES = {
    "config": "a config that succeeds soon, with text that is not ASCII where it takes text",
    "long": "a config that keeps it busy for a minute at least",
    "failing": "a config that is valid and fails",
    "loud": "a config that writes 100 MB to its log and succeeds",
}
BY_ITSELF = "`long` has ended by itself"
LIFE_SECONDS = 0.3
"""How long one waits at most for a run to show that it is under way: not every executor writes or starts something."""
LEFT_SECONDS = 15.0

both_isolations = pytest.mark.parametrize("isolation", ["process", "thread"])


class ExecutorConformance:
    """The checks. Subclasses, named `Test...`, set `executor` and the configs of CASES; what there is none of is skipped with a reason.

    `skip`: reasons by the name of a case (all checks that need it), or of a check without `test_`. `files`: texts by name, put into the
    tasks folder. `task` says how a config becomes a task, where it isn't `executor:` and `config:`.
    """

    executor: ClassVar[type[Executor]]
    config: ClassVar[Config | None] = None
    long: ClassVar[Config | None] = None
    failing: ClassVar[Config | None] = None
    loud: ClassVar[Config | None] = None
    files: ClassVar[Mapping[str, str]] = {}
    skip: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        checks = {name.removeprefix("test_") for name in dir(cls) if name.startswith("test_")}
        for name, reason in cls.skip.items():
            if name not in {*CASES, *checks}:
                known = ", ".join(sorted({*CASES, *checks}))
                raise TypeError(
                    f"{cls.__name__}: there is no check or case {name!r} to skip; there are {known}"
                )
            if not isinstance(reason, str) or not reason.strip():
                raise TypeError(f"{cls.__name__}: say why {name!r} is skipped")

    @pytest.fixture(autouse=True)
    def _skipped(self, request: pytest.FixtureRequest) -> None:
        name = request.function.__name__.removeprefix("test_")
        if name in self.skip:
            pytest.skip(self.skip[name])

    @pytest.fixture
    def flow(self, zqf_of_class: Flow) -> Flow:
        """One scheduler for all checks of an executor."""
        return zqf_of_class

    @classmethod
    def made_in(cls, folder: Path) -> Flow:
        """A scheduler with this executor and its files, not yet started."""
        flow = Flow(folder, executors=[cls.executor])
        for name, text in cls.files.items():
            (flow.tasks / name).write_text(text, encoding="utf-8")
        return flow

    def task(self, config: Config) -> dict[str, Any]:
        """The keys of a task with this config."""
        return {"executor": self.executor.name, "config": dict(config)}

    # ── what it says of itself ──────────────────────────────────────────────────────────────────────────────────

    def test_contract(self, flow: Flow) -> None:
        """It can be loaded as a plugin: its name, its config and its `run` are what they have to be."""
        plugins = flow.scheduler.plugged.current
        faults = [f"{plugin.name}: {plugin.error}" for plugin in plugins.known if plugin.error]
        assert plugins.executors.get(self.executor.name) is self.executor, "\n".join(faults)

    def test_schema(self) -> None:
        """Its config has a JSON Schema, from which forms and editors are made."""
        schema = json.loads(json.dumps(self.executor.Config.model_json_schema()))
        assert schema["type"] == "object"
        assert set(self._case("config")) <= set(schema.get("properties", ()))

    def test_unknown_keys(self, flow: Flow) -> None:
        """A key that it does not know is an error of the file, not something that is passed over."""
        wrong = {**self._case("config"), "no_such_key": 1}
        with pytest.raises(BadRequest, match="no_such_key"):
            flow.run(self._definition("config", config=wrong))

    # ── what comes of it ────────────────────────────────────────────────────────────────────────────────────────

    @both_isolations
    def test_result(self, flow: Flow, isolation: str) -> None:
        """It succeeds, with a result that is JSON, in a process of its own and as a thread among others."""
        run = flow.run(self._definition("config", isolation=isolation))
        assert run.status == "success", run
        json.dumps(run.result, allow_nan=False)

    def test_unicode(self, flow: Flow) -> None:
        """Text of any script goes through unharmed, from the config to its result or its log."""
        wanted = {text for text in _texts(self._case("config")) if not text.isascii()}
        assert wanted, (
            "no text of `config` has a character beyond ASCII: put one in, or skip this check with a reason"
        )
        run = flow.run(self._definition("config"))
        told = {*_texts(run.result), run.log}
        assert any(_letters(text) in said for text in wanted for said in told), (
            f"neither result nor log has {wanted}: {told}"
        )

    def test_failure(self, flow: Flow) -> None:
        """What fails is a failed attempt with a text that says why, and that text is in the log too."""
        run = flow.run(self._definition("failing"))
        assert (run.status, run.attempts) == ("failed", ("failed",)), run
        assert run.error_code
        assert run.error_message
        assert run.log.strip(), "the log says nothing of it"

    def test_big_output(self, flow: Flow) -> None:
        """100 MB of output are no harm: the log is cut, and the attempt succeeds all the same."""
        run = flow.run(self._definition("loud"))
        assert run.status == "success", run
        size = len(run.log.encode())
        assert size >= LIMIT, f"`loud` has written {size} bytes only"
        assert run.log.endswith("log cut at 10 MB\n")

    # ── how it is ended ─────────────────────────────────────────────────────────────────────────────────────────

    @both_isolations
    def test_terminate(self, flow: Flow, isolation: str) -> None:
        """It ends within the grace when it is told to, and nothing that it has started is left."""
        execution_id = self._under_way(flow, isolation=isolation)
        self._ended_in_time(flow, execution_id)

    def test_timeout(self, flow: Flow) -> None:
        """Its timeout ends it, and nothing that it has started is left."""
        began = time.monotonic()
        run = flow.run(self._definition("long", timeout=0.5))
        assert (run.status, run.error_code, run.attempts) == ("terminated", "timeout", ("timeout",)), run
        assert time.monotonic() - began < GRACE, "it does not heed its end: it was killed after the grace"
        self._nothing_left(flow)

    def test_pause(self, flow: Flow) -> None:
        """It stands still when it is told to, and goes on."""
        execution_id = self._under_way(flow)
        flow.pause(execution_id)
        flow.until(execution_id, lambda run: run.status == "paused", "that it stands still", GRACE)
        flow.resume(execution_id)
        flow.until(execution_id, lambda run: run.status == "running", "that it goes on", GRACE)
        self._ended_in_time(flow, execution_id)

    def test_reattach(self, tmp_path: Path) -> None:
        """`kill -9` of the control plane does not touch it: the next one finds the same attempt, and can end it."""
        with self.made_in(tmp_path / "killed") as flow:
            execution_id = start_and_kill(flow, self._definition("long"))
            before = workers_of(flow.settings.data_dir)
            run = flow.seen(execution_id)
            assert not run.ended, run
            assert run.attempts == ()
            assert before & workers_of(flow.settings.data_dir), "its processes are not those of before"
            self._ended_in_time(flow, execution_id)

    # ── means ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _case(self, name: str) -> Config:
        if name in self.skip:
            pytest.skip(self.skip[name])
        config: Config | None = getattr(self, name)
        if config is None:
            pytest.fail(
                f"`{name}` is missing: {CASES[name]}. Where there is none, say why: skip={{{name!r}: '...'}}",
                pytrace=False,
            )
        return config

    def _definition(self, case: str, *, config: Config | None = None, **keys: Any) -> dict[str, Any]:
        said = self._case(case) if config is None else config
        return {"name": f"{self.executor.name} {case}", "overlap": "allow", **self.task(said), **keys}

    def _under_way(self, flow: Flow, **keys: Any) -> int:
        """A long run that has begun and shows it, as far as it shows anything."""
        execution_id = flow.start(self._definition("long", **keys))
        run = flow.until(execution_id, lambda run: run.begun, "its beginning")
        eventually(
            lambda: flow.seen(execution_id).log or started_by_attempts(flow.settings.data_dir), LIFE_SECONDS
        )
        run = flow.seen(execution_id)
        assert not run.ended, f"{BY_ITSELF}\n{run}"
        return execution_id

    def _ended_in_time(self, flow: Flow, execution_id: int) -> Run:
        began = time.monotonic()
        with suppress(WrongState):  # it has ended in this moment
            flow.terminate(execution_id)
        run = flow.wait(execution_id, GRACE + LEFT_SECONDS)
        assert run.status not in ("success", "failed"), f"{BY_ITSELF}\n{run}"
        assert (run.status, run.attempts) == ("terminated", ("terminated",)), run
        assert time.monotonic() - began < GRACE, "it does not heed terminate: it was killed after the grace"
        self._nothing_left(flow)
        return run

    def _nothing_left(self, flow: Flow) -> None:
        data_dir = flow.settings.data_dir
        assert eventually(lambda: not started_by_attempts(data_dir), LEFT_SECONDS), (
            f"these are left: {started_by_attempts(data_dir)}"
        )


def conformance(
    executor: type[Executor],
    *,
    config: Config | None = None,
    long: Config | None = None,
    failing: Config | None = None,
    loud: Config | None = None,
    files: Mapping[str, str] | None = None,
    skip: Mapping[str, str] | None = None,
) -> type[ExecutorConformance]:
    """The checks of this executor, as a class that pytest collects under the name it is given: `TestGreet = conformance(Greet, ...)`."""
    keys = {"config": config, "long": long, "failing": failing, "loud": loud}
    name = f"Test{executor.__name__}"
    said = {"executor": executor, **keys, "files": files or {}, "skip": skip or {}}
    return type(name, (ExecutorConformance,), {"__doc__": f"The executor {executor.name}.", **said})


def _texts(value: Any) -> Iterator[str]:
    """All text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _letters(text: str) -> str:
    """The longest piece of a text beyond ASCII: a command or a statement says more than it repeats."""
    pieces = "".join(letter if not letter.isascii() else " " for letter in text).split()
    return max(pieces, key=len)
