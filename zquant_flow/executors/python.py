"""How is a Python function named? Workers import it from the stored sources of its version (SEMANTICS §2.4)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from zquant_flow.plugin.contract import Executor


class PythonConfig(BaseModel):
    """`folder` is the module's folder below the tasks folder, posix, empty at its top."""

    model_config = ConfigDict(extra="forbid")

    module: Annotated[str, Field(min_length=1)]
    function: Annotated[str, Field(min_length=1)]
    folder: str = ""


class PythonExecutor(Executor):
    name = "python"
    Config = PythonConfig
