"""What does an expression of a definition mean, and what may it do? (SEMANTICS §8.10)

The language is Jinja2's, without calls, loops and assignments: `nodes.load.result.rows > 0`, `{{ params.symbol }}`. Keys of
mappings are all that can be reached, so no value's Python side is; what is written is checked before it is compiled, and what
it makes is bounded. Jinja2 is imported by the first expression.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from types import GeneratorType
from typing import Any

from zquant_flow.core.references import TEMPLATE, Absent, missing
from zquant_flow.errors import ExpressionError, ZquantFlowError
from zquant_flow.wording import Message, joined, say, spoken

MAX_TEXT = 1_000
"""Characters of an expression."""
MAX_TOKENS = 1_000
MAX_PARTS = 200
"""Names, values and operators of an expression, or of all expressions of a template."""
MAX_RENDERED = 131_072
"""Characters of a template and of what it becomes: an argument of a program has 128 KiB."""
MAX_MADE = 1_048_576
"""Characters, or items, that one operator may make."""
MAX_BITS = 4_096

ROOTS = (
    *("params", "nodes", "logical_time", "execution", "event"),
    *("session", "previous_session", "next_session"),
)
"""The names at the top of every scope."""
OF_ITEMS = ("item", "index")
"""And those that a node with `for_each` has besides, for each item: its value, and its number from 0."""

Path = tuple[str | int, ...]
Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """The paths that an expression uses, as far as they are fixed: `("nodes", "load", "result", "rows")`.

    `optional`: those that may lead nowhere, as something is said for that case: `params.day|default('today')`.
    """

    paths: tuple[Path, ...]
    optional: frozenset[Path] = frozenset()


FILTERS = (
    *("abs", "count", "d", "date", "default", "first", "float", "int", "join", "last", "length", "list"),
    *("lower", "max", "min", "round", "sort", "string", "sum", "tojson", "trim", "unique", "upper"),
)
TESTS = (
    *("boolean", "defined", "eq", "equalto", "false", "float", "ge", "gt", "in", "integer", "le", "lt"),
    *("mapping", "ne", "none", "number", "sequence", "string", "true", "undefined"),
)
_ALLOWED = frozenset(
    {
        *("Template", "Output", "TemplateData", "Const", "Name", "Getattr", "Getitem", "Slice", "Compare"),
        *("Operand", "And", "Or", "Not", "Neg", "Pos", "Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"),
        *("Concat", "CondExpr", "List", "Tuple", "Dict", "Pair", "Test", "Filter"),
    }
)
_EXCUSES = ("default", "d", "defined", "undefined")
"""Filters and tests that have an answer where there is nothing."""
_REFUSED = {
    "Call": say("a call is not allowed in an expression"),
    "For": say("a loop is not allowed in a template"),
    "Keyword": say("a filter takes its arguments without names"),
}


def is_template(text: str) -> bool:
    """Whether rendering would change anything."""
    return "{{" in text or "{%" in text


@lru_cache(maxsize=4096)
def check(text: str, *, template: bool = False) -> Names:
    """What an expression uses; raises ExpressionError for what can't be read or is not allowed.

    `template`: text with `{{ }}` in it.
    """
    with _faults_told(text):
        return (_checked_template if template else _checked_expression)(text)[1]


def evaluate(text: str, scope: Scope) -> Any:
    """The value of an expression, as JSON has them; raises ExpressionError. `{{ }}` may stand around the whole."""
    with _faults_told(text):
        return _plain(_value(text, scope))


def render(text: str, scope: Scope) -> str:
    """The text with its expressions replaced; raises ExpressionError that says which part leads nowhere.

    Text stays as it is, null becomes nothing, an instant ISO 8601, and anything else JSON.
    """
    with _faults_told(text):
        return _rendered(text, scope)


def compute(kind: str, text: str, scope: Scope) -> Any:
    """The value of an expression or template inside params (`references.resolve`)."""
    return render(text, scope) if kind == TEMPLATE else evaluate(text, scope)


def bare(text: str) -> str:
    """An expression without the `{{ }}` around it."""
    text = text.strip()
    return text[2:-2].strip() if text.startswith("{{") and text.endswith("}}") else text


def path_of(text: str) -> Path | None:
    """The path of a template that is one `{{ a.dotted.path }}` and nothing else; None for any other text."""
    if not single(text):
        return None
    from jinja2 import nodes

    tree, names = _checked_expression(text)
    while isinstance(tree, nodes.Getattr) or (
        isinstance(tree, nodes.Getitem) and isinstance(tree.arg, nodes.Const)
    ):
        tree = tree.node
    return names.paths[0] if isinstance(tree, nodes.Name) and len(names.paths) == 1 else None


def single(text: str) -> bool:
    """Whether a template is one `{{ expression }}` and nothing else."""
    text = text.strip()
    if not (text.startswith("{{") and text.endswith("}}")):
        return False
    try:
        check(bare(text))
    except ExpressionError:
        return False
    return True


@contextmanager
def _faults_told(text: str) -> Iterator[None]:
    """Whatever is raised is told as an ExpressionError: an expression can raise anything."""
    try:
        yield
    except ExpressionError:
        raise
    except ZquantFlowError as error:
        raise ExpressionError(error.detail) from error
    except RecursionError as error:
        raise ExpressionError(say("{text:.100}: is nested too deeply", text=text)) from error
    except Exception as error:
        raise ExpressionError(say("{text:.100}: {error}", text=text, error=_told(error))) from error


def _told(error: Exception) -> str:
    from jinja2 import TemplateError

    said = spoken(error)
    if isinstance(error, TemplateError):
        return error.message or said
    if isinstance(said, Message):
        return said
    if isinstance(error, ZeroDivisionError):
        return say("division by zero")
    return f"{type(error).__name__}: {said}"


def _value(text: str, scope: Scope) -> Any:
    from jinja2 import UndefinedError

    template, names = _compiled_expression(text)
    context = template.new_context(scope, shared=True)
    try:
        for _ in template.root_render_func(context):
            pass
        value = context.vars["result"]
        _refuse_missing(value)
    except UndefinedError as error:
        raise ExpressionError(_located(error, names.paths, scope)) from None
    return value


def _rendered(text: str, scope: Scope) -> str:
    from jinja2 import UndefinedError

    template, names = _compiled_template(text)
    pieces, size = [], 0
    try:
        for piece in template.root_render_func(template.new_context(scope, shared=True)):
            size += len(piece)
            if size > MAX_RENDERED:
                raise ExpressionError(
                    say("{text:.100}: becomes more than {limit} characters", text=text, limit=MAX_RENDERED)
                )
            pieces.append(piece)
    except UndefinedError as error:
        raise ExpressionError(_located(error, names.paths, scope)) from None
    return "".join(pieces)


def _located(error: Exception, paths: Iterable[Path], scope: Scope) -> str:
    """What leads nowhere, by the path that was written."""
    where = error.args[0] if error.args else ""
    if not isinstance(where, _Where):
        return spoken(error)
    if where.hint is not None:
        return where.hint
    if where.owner is None:
        return unknown_name(str(where.word), scope)
    for path in paths:
        found: Any = scope
        for position, word in enumerate(path):
            if found is where.owner and word == where.word:
                return missing(path, position, found)
            try:
                found = found[word]
            except (LookupError, TypeError):
                break
    return missing([where.word], 0, where.owner)


def unknown_name(name: str, known: Iterable[str]) -> Message:
    """Says that nothing has this name at the top, and what has one."""
    return say("unknown name {name!r}: known are {known}", name=name, known=joined(", ", known))


class _Where(str):
    """The message of something that is not there, which knows where it is not."""

    __slots__ = ("hint", "owner", "word")
    hint: str | None
    owner: Any
    word: Any


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=4096)
def _compiled_expression(text: str) -> tuple[Any, Names]:
    from jinja2 import nodes

    tree, names = _checked_expression(text)
    body = nodes.Assign(nodes.Name("result", "store"), tree, lineno=1)
    return _compiled(nodes.Template([body], lineno=1)), names


@lru_cache(maxsize=4096)
def _compiled_template(text: str) -> tuple[Any, Names]:
    tree, names = _checked_template(text)
    return _compiled(tree), names


def _compiled(tree: Any) -> Any:
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    class Bounded(NodeTransformer):
        def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
            """`a ~ b` is made by a function of ours, which has a limit."""
            parts = nodes.List([self.visit(part) for part in node.nodes], lineno=node.lineno)
            return nodes.Filter(parts, "_text", [], [], None, None, lineno=node.lineno)

    environment = _environment()
    tree = Bounded().visit(tree)
    tree.set_environment(environment)
    return environment.from_string(tree)


def _checked_expression(text: str) -> tuple[Any, Names]:
    from jinja2.parser import Parser

    source = bare(text)
    if len(source) > MAX_TEXT:
        raise ExpressionError(say("an expression has at most {limit} characters", limit=MAX_TEXT))
    if not source:
        raise ExpressionError(say("an expression is missing"))
    parser = Parser(_environment(), source, state="variable")
    tree = parser.parse_expression()
    if not parser.stream.eos:
        raise ExpressionError(
            say("{text:.100}: ends before {rest!r}", text=source, rest=str(parser.stream.current.value))
        )
    return tree, _walked(tree, template=False)


def _checked_template(text: str) -> tuple[Any, Names]:
    if len(text) > MAX_RENDERED:
        raise ExpressionError(say("a template has at most {limit} characters", limit=MAX_RENDERED))
    environment = _environment()
    written = 0
    for _, kind, _ in environment.lexer.tokeniter(text, None):
        written += kind not in ("data", "whitespace")
        if written > MAX_TOKENS:
            raise ExpressionError(_too_long())
    tree = environment.parse(text)
    return tree, _walked(tree, template=True)


def _too_long() -> Message:
    return say("this has more than {limit} names, values and operators", limit=MAX_PARTS)


def _walked(tree: Any, *, template: bool) -> Names:
    """The names in a tree, once each; raises ExpressionError for what may not stand there."""
    from jinja2 import nodes

    paths: dict[Path, bool] = {}
    excused: set[int] = set()
    left, parts = [tree], 0
    while left:
        node = left.pop()
        parts += 1
        if parts > MAX_PARTS:
            raise ExpressionError(_too_long())
        _refuse(node, template)
        if isinstance(node, (nodes.Name, nodes.Getattr, nodes.Getitem)):
            needed = id(node) not in excused
            node, words = _chain(node, left)
            parts += len(words)
            if isinstance(node, nodes.Name):
                path = (node.name, *words)
                paths[path] = needed or paths.get(path, False)
            else:
                left.append(node)
        else:
            if getattr(node, "name", None) in _EXCUSES:
                excused.add(id(node.node))
            left.extend(reversed(list(node.iter_child_nodes())))
    return Names(tuple(paths), frozenset(path for path, needed in paths.items() if not needed))


def _chain(node: Any, left: list[Any]) -> tuple[Any, list[str | int]]:
    """What a chain of keys begins with, and its words up to the first that is computed."""
    from jinja2 import nodes

    words: list[str | int] = []
    for _ in range(MAX_PARTS + 1):
        if isinstance(node, nodes.Getattr):
            if node.attr.startswith("__"):
                raise ExpressionError(say("{word!r} is no key that a value has", word=node.attr))
            words.append(node.attr)
        elif isinstance(node, nodes.Getitem):
            if isinstance(node.arg, nodes.Const) and type(node.arg.value) in (str, int):
                words.append(node.arg.value)
            else:
                words.clear()
                left.append(node.arg)
        else:
            return node, words[::-1]
        node = node.node
    raise ExpressionError(_too_long())


def _refuse(node: Any, template: bool) -> None:
    kind = type(node).__name__
    if kind not in _ALLOWED and not (template and kind == "If"):
        detail = _REFUSED.get(kind) or say("{kind} is not allowed in an expression", kind=kind)
        raise ExpressionError(detail)
    if kind in ("Filter", "Test"):
        known = FILTERS if kind == "Filter" else TESTS
        if node.node is None or node.name not in known:
            told = {"name": node.name, "known": ", ".join(known)}
            if kind == "Filter":
                raise ExpressionError(say("there is no filter {name!r}: there is {known}", **told))
            raise ExpressionError(say("there is no test {name!r}: there is {known}", **told))
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise ExpressionError(_REFUSED["Keyword"])


# ── what runs ───────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import StrictUndefined, Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import missing as nothing

    class Missing(StrictUndefined):
        __slots__ = ()

        @property
        def _undefined_message(self) -> str:
            where = _Where(self._undefined_hint or str(self._undefined_name))
            where.hint, where.word = self._undefined_hint, self._undefined_name
            where.owner = None if self._undefined_obj is nothing else self._undefined_obj
            return where

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _refuse_missing(left)
            _refuse_missing(right)
            return _calculated(operator, left, right, self.binop_table[operator])

        def getattr(self, obj: Any, attribute: str) -> Any:
            return self.getitem(obj, attribute)

        def getitem(self, obj: Any, argument: Any) -> Any:
            if isinstance(obj, Undefined):
                if (
                    obj._undefined_hint is not None
                ):  # a part of what is absent for a reason is absent for it too
                    return obj
                _refuse_missing(obj)
            if isinstance(obj, (Mapping, list, tuple, str)) and not isinstance(argument, Undefined):
                try:
                    return obj[argument]
                except Absent as absent:
                    return self.undefined(hint=absent.detail, obj=obj, name=argument)
                except (LookupError, TypeError):
                    return self.undefined(obj=obj, name=argument)
            if isinstance(obj, date) and argument in _OF_INSTANTS and hasattr(obj, argument):
                return getattr(obj, argument)
            return self.undefined(obj=obj, name=argument)

    environment = Environment(
        undefined=Missing, optimized=False, autoescape=False, finalize=_text_of, keep_trailing_newline=True
    )
    environment.globals.clear()
    environment.filters = {
        **{name: environment.filters[name] for name in FILTERS if name in environment.filters},
        "date": _date,
        "int": _int,
        "float": _float,
        "join": _join,
        "round": _round,
        "string": _text_of,
        "sum": _sum,
        "tojson": _json,
        "unique": _unique,
        "_text": _concatenated,
    }
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment


_OF_INSTANTS = ("year", "month", "day", "hour", "minute", "second")


def _refuse_missing(value: Any) -> None:
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        value._fail_with_undefined_error()


def _calculated(operator: str, left: Any, right: Any, work: Callable[[Any, Any], Any]) -> Any:
    """Numbers only, and of a bounded size; `+` also joins two texts or two lists."""
    if operator == "+" and type(left) is type(right) and isinstance(left, (str, list)):
        if len(left) + len(right) > MAX_MADE:
            raise ValueError(_too_large())
        return left + right
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(
                say("{operator} takes two numbers, not {value:.60}", operator=operator, value=repr(value))
            )
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise ValueError(_too_large())
    if operator == "**" and (abs(left) > 1_000_000 or abs(right) > 64):
        raise ValueError(_too_large())
    return work(left, right)


def _too_large() -> Message:
    return say("what this makes is too large")


def _text_of(value: Any) -> str:
    _refuse_missing(value)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, date):
        return value.isoformat()
    return _json(value)


def _json(value: Any) -> str:
    _refuse_missing(value)
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _concatenated(parts: Sequence[Any]) -> str:
    return _join(parts)


def _join(values: Iterable[Any], separator: Any = "") -> str:
    _refuse_missing(values)
    between = _text_of(separator)
    pieces, size = [], 0
    for value in values:
        piece = _text_of(value)
        size += len(piece) + len(between)
        if size > MAX_MADE:
            raise ValueError(_too_large())
        pieces.append(piece)
    return between.join(pieces)


def _unique(values: Iterable[Any]) -> list[Any]:
    """Each value once, in the order of its first place."""
    _refuse_missing(values)
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(_json(value), value)
    return list(found.values())


def _sum(values: Iterable[Any]) -> Any:
    _refuse_missing(values)
    total: Any = 0
    for value in values:
        total = _calculated("+", total, value, lambda left, right: left + right)
    return total


def _round(value: Any, digits: Any = 0) -> Any:
    _refuse_missing(value)
    if isinstance(digits, bool) or not isinstance(digits, int) or abs(digits) > 15:
        raise ValueError(say("round takes a number of digits from -15 to 15"))
    return round(value, digits) if digits else round(value)


def _int(value: Any, default: Any = None) -> Any:
    return _number(value, default, lambda value: int(value) if isinstance(value, int) else int(float(value)))


def _float(value: Any, default: Any = None) -> Any:
    return _number(value, default, float)


def _number(value: Any, default: Any, of: Callable[[Any], Any]) -> Any:
    """`'5'|int`; what is no number is an error, or the default where there is one."""
    _refuse_missing(value)
    try:
        if (
            isinstance(value, str)
            and of is not float
            and value.strip().lstrip("+-").isdecimal()
            and len(value) <= 100
        ):
            return int(value)
        if isinstance(value, (int, float)) or (isinstance(value, str) and len(value) <= 100):
            return of(value)
    except (ValueError, OverflowError):
        pass
    if default is not None:
        return default
    raise ValueError(say("{value:.60} is no number", value=repr(value)))


def _date(value: Any, form: Any = "%Y-%m-%d") -> str:
    """An instant or day in the words of strftime: `{{ logical_time|date('%Y%m%d') }}`."""
    _refuse_missing(value)
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            pass
    if not isinstance(value, date):
        raise ValueError(say("date takes an instant or a day, not {value:.60}", value=repr(value)))
    if not isinstance(form, str) or len(form) > 100:
        raise ValueError(say("date takes a form such as '%Y-%m-%d'"))
    return value.strftime(form)


def _plain(value: Any) -> Any:
    """The value as JSON has it; raises ValueError for what JSON has no word for."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(say("{value} is no JSON number", value=value))
        return value
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, GeneratorType, Iterator)):
        return [_plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    _refuse_missing(value)
    raise ValueError(say("{kind} is no JSON value", kind=type(value).__name__))


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _text_of(key)
