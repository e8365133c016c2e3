"""What does a command find in its environment? (SEMANTICS §5.2)"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from zquant_flow.environment import RUNNER_MARK
from zquant_flow.runner.protocol import Frame

SECRETS = (
    "ZQUANT_FLOW_ADMIN_TOKEN",
    "ZQUANT_FLOW_SECRET_KEY",
    "ZQUANT_FLOW_NOTIFY",
    "ZQUANT_FLOW_TOKEN",
    "ZQUANT_FLOW_DATABASE_URL",
)
"""What belongs to the control plane and to no attempt."""

EXECUTION_ID = "ZQUANT_EXECUTION_ID"
ATTEMPT = "ZQUANT_FLOW_ATTEMPT"


def base_environment(data_dir: str) -> dict[str, str]:
    """The part that all attempts of a runner share."""
    env = {name: value for name, value in os.environ.items() if name not in SECRETS}
    folder = os.path.dirname(sys.executable)
    env["PATH"] = f"{folder}{os.pathsep}{env.get('PATH') or os.defpath}"
    env["PYTHONUTF8"] = "1"
    env["PYTHONIOENCODING"] = "utf-8"
    env["PYTHONUNBUFFERED"] = "1"
    env[RUNNER_MARK] = data_dir
    return env


def order_environment(order: Frame) -> dict[str, str]:
    """The part that is this attempt's: its identity, its params, then the task's own `env`."""
    params: Mapping[str, Any] = order.get("params") or {}
    env = {
        EXECUTION_ID: str(order["id"]),
        ATTEMPT: str(order["attempt"]),
        "ZQUANT_FLOW_PARAMS": _json(params),
    }
    if order.get("logical_time"):
        env["ZQUANT_FLOW_LOGICAL_TIME"] = order["logical_time"]
    for name, value in params.items():
        env[param_variable(name)] = _text(value)
    if order.get("env"):
        env.update(order["env"])
    return env


def param_variable(name: str) -> str:
    """`symbol` -> `ZQF_PARAM_SYMBOL`; what is no ASCII letter or digit becomes `_`."""
    return f"ZQF_PARAM_{folded(name)}"


def folded(name: str) -> str:
    """A name as variables have it: `top n` -> `TOP_N`."""
    return re.sub("[^0-9A-Z]", "_", name.upper())


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else _json(value)


_json = json.JSONEncoder(ensure_ascii=False).encode
