"""How an executor's `run` becomes the facts of an outcome, in the worker."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from zquant_flow.executors.context import Context
from zquant_flow.executors.failure import Failure, library
from zquant_flow.plugin.contract import Executor
from zquant_flow.runner.calls import Calls


class Config(BaseModel):
    fails: bool = False


class Later(Executor):
    name = "later"
    Config = Config

    async def run(self, context: Context, config: Config) -> Any:
        if config.fails:
            raise Failure("too_few", "3 rows, 5 are expected", exit_code=4)
        return {"attempt": context.attempt}


def outcome(**config: Any) -> dict[str, Any]:
    order = {"id": 1, "attempt": 2, "entry": Later.entry(), "config": config}
    return Calls().outcome(order, Context(order))


def test_run_may_be_a_coroutine() -> None:
    assert outcome() == {"kind": "success", "result": '{"attempt": 2}'}


def test_a_failure_is_a_code_and_a_sentence_and_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(fails=True) == {
        "kind": "failed",
        "code": "too_few",
        "error": "3 rows, 5 are expected",
        "exit_code": 4,
    }
    assert capsys.readouterr().err == "3 rows, 5 are expected\n"


def test_a_library_that_is_missing_names_its_extra_and_a_fault_within_one_stays_itself() -> None:
    with pytest.raises(Failure, match=r'pip install "zquant-flow\[ssh\]"'):
        library("no_such_library.part", "ssh")
    assert library("json", "ssh").loads("1") == 1
