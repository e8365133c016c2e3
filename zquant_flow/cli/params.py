"""What do `-p NAME=VALUE` options say?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from zquant_flow.errors import BadRequest
from zquant_flow.wording import say


def params_of(given: Sequence[str] | None) -> dict[str, Any]:
    """The params; a value that is JSON is taken as such, any other as text. Raises BadRequest."""
    params: dict[str, Any] = {}
    for pair in given or ():
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise BadRequest(say("-p {pair!r}: write NAME=VALUE", pair=pair))
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params
