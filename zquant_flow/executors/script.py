"""How is a Python script with an environment of its own described?

It runs as a command does; `script_start` is what the command starts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from zquant_flow.plugin.contract import Executor

STARTER = str(Path(__file__).with_name("script_start.py"))


class ScriptConfig(BaseModel):
    """`file` and a path in `python` are relative to the working folder. `python`: a path, a program on PATH, or a version (`3.12`)."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, defer_build=True)

    file: Annotated[str, Field(min_length=1)]
    args: list[str] = []
    python: Annotated[str, Field(min_length=1)] | None = None
    requirements: list[Annotated[str, Field(min_length=1)]] = []
    uv_args: list[str] = []


class ScriptExecutor(Executor):
    name = "script"
    Config = ScriptConfig

    @staticmethod
    def command_line(config: ScriptConfig) -> list[str]:
        """Our Python, the starter, and the config as JSON: the script is looked at where it runs."""
        return [sys.executable, "-I", "-S", "-X", "utf8", STARTER, json.dumps(config.model_dump())]
