"""An executor that breaks its promises is told so, check by check; and nothing is left out without a reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zquant_flow.executors.example import ExampleExecutor
from zquant_flow.testing import conformance

CARELESS = """
from pydantic import BaseModel
from zquant_flow.plugin import Executor


class CarelessConfig(BaseModel):
    text: str = ""


class Careless(Executor):
    name = "careless"
    Config = CarelessConfig

    def run(self, context, config):
        if config.text == "fail":
            return "all is well"
        if config.text == "no json":
            return object()
        print(config.text.encode("ascii", "replace").decode())
"""
TESTS = """
from careless import Careless
from zquant_flow.testing import conformance

TestCareless = conformance(
    Careless, config={"text": "世界"}, failing={"text": "fail"}, loud={"text": "quiet"}, skip={"pause": "it is short"}
)
TestWithoutJson = conformance(Careless, config={"text": "no json"}, long={"text": "short"})
"""


def test_what_an_executor_does_wrong_is_named_by_the_check_that_finds_it(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(CARELESS)
    (tmp_path / "test_careless.py").write_text(TESTS)
    chosen = "TestCareless or (TestWithoutJson and (result or terminate))"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rfEs", "-p", "zquant_flow", "-k", chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "300"},
        capture_output=True,
        text=True,
    )
    found = re.findall(r"^FAILED test_careless.py::(\S+)", done.stdout, re.M)
    assert {name for name in found if "Careless" in name} == {
        f"TestCareless::test_{check}"
        for check in (
            "unknown_keys",
            "unicode",
            "failure",
            "big_output",
            "terminate[process]",
            "terminate[thread]",
            "timeout",
            "reattach",
        )
    }, done.stdout
    assert {name for name in found if "Json" in name} == {
        f"TestWithoutJson::test_{check}[{how}]"
        for check in ("result", "terminate")
        for how in ("process", "thread")
    }, done.stdout
    for told in (
        "`loud` has written 6 bytes only",
        "`long` is missing: a config that keeps it busy for a minute at least",
        "`long` has ended by itself",
        "neither result nor log has {'世界'}",
        "it is short",
    ):
        assert told in done.stdout, told


@pytest.mark.parametrize(
    ("skip", "why"),
    [
        ({"terminat": "x"}, "there is no check or case 'terminat' to skip; there are big_output, config"),
        ({"pause": " "}, "say why 'pause' is skipped"),
    ],
)
def test_a_check_is_skipped_by_its_name_and_with_a_reason(skip: dict[str, str], why: str) -> None:
    with pytest.raises(TypeError, match=re.escape(why)):
        conformance(ExampleExecutor, skip=skip)
