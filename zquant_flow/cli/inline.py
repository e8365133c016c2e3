"""Which definition stands in a file that is to be run once?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zquant_flow.cli.runs import fault_at
from zquant_flow.definitions.yaml_text import YamlError, read_yaml
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say


def definition_in(path: Path) -> dict[str, Any]:
    """The only definition of a YAML file. Raises BadRequest."""
    if path.suffix not in (".yaml", ".yml"):
        raise BadRequest(say("{path} is no YAML file; `zquant-flow run` runs Python files", path=str(path)))
    try:
        documents = read_yaml(path.read_bytes())
    except OSError as exc:
        raise BadRequest(say("{path} can't be read: {reason}", path=str(path), reason=exc.strerror)) from exc
    except YamlError as exc:
        raise BadRequest(fault_at(str(path), exc.line, exc.column, exc.message)) from exc
    values = [document.value for document in documents if isinstance(document.value, dict)]
    if len(values) != 1:
        raise BadRequest(
            say("{path} holds {count} definitions; one is run at a time", path=str(path), count=len(values))
        )
    return values[0]
