"""Which part of a JSON value does a path name?

The part of JSONPath that names one place: `$.data.items[0].name`, `data["odd key"]`, `items[-1]`. The `$.` may be left out.
"""

from __future__ import annotations

import json
import re
from typing import Any

from zquant_flow.wording import say

Steps = list[str | int]
_STEP = re.compile(r"""\.?([^\s.\[\]"'$]+)|\[(-?\d+)\]|\[("(?:[^"\\]|\\.)*")\]|\['([^']*)'\]""")


def steps_of(path: str) -> Steps:
    """The keys and positions on the way; raises ValueError for what is no such path."""
    rest = path.strip().removeprefix("$")
    found: Steps = []
    while rest:
        match = _STEP.match(rest)
        if match is None or (match[1] and found and not rest.startswith(".")):
            raise ValueError(
                say("{path!r} is no path into JSON: write it as data.items[0].name", path=path[:200])
            )
        name, position, quoted, single = match.groups()
        found.append(int(position) if position else json.loads(quoted) if quoted else name or single)
        rest = rest[match.end() :]
    return found


def find(value: Any, path: str) -> Any:
    """What stands there; raises LookupError that names the step which leads nowhere."""
    way = "$"
    for step in steps_of(path):
        try:
            if not isinstance(value, list if isinstance(step, int) else dict):
                raise LookupError(step)
            value = value[step]  # type: ignore[index]
        except LookupError:
            raise LookupError(f"{path}: there is no {step!r} in {way}, {_shape(value)}") from None
        way += f"[{step}]" if isinstance(step, int) else f".{step}"
    return value


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        keys = ", ".join(list(value)[:10])
        return f"which has {keys:.200}" if value else "which is empty"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"which is {json.dumps(value, ensure_ascii=False):.50}"
