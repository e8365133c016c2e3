"""What does `{{ params.symbol }}` in a command mean? (SEMANTICS §8.10)

Jinja2 in its sandbox, strict: an unknown name is an error that says which. Words are split before they are rendered, so a
value stays one argument whatever is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from zquant_flow.errors import ParamsError
from zquant_flow.wording import say


def is_template(text: str) -> bool:
    """Whether rendering would change anything."""
    return "{{" in text or "{%" in text


def render(text: str, scope: Mapping[str, Any]) -> str:
    """The text with its expressions replaced. Raises ParamsError for an unknown name or a faulty expression."""
    from jinja2 import TemplateError

    try:
        return str(_compiled(text).render(scope))
    except TemplateError as error:
        raise ParamsError(say("template {text!r}: {error}", text=text, error=str(error))) from error
    except Exception as error:  # an expression can raise anything: a division by zero, a type error
        message = say("template {text!r}: {error}", text=text, error=f"{type(error).__name__}: {error}")
        raise ParamsError(message) from error


@lru_cache(maxsize=1000)
def _compiled(text: str) -> Any:
    return _environment().from_string(text)


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
