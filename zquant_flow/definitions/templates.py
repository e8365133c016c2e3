"""Do the expressions and templates of a definition lead anywhere?

What can be known before anything runs: that they can be read, and that the params and nodes which they name are there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zquant_flow.core import expressions
from zquant_flow.core.expressions import Names, bare, check, is_template, path_of, single
from zquant_flow.core.model import Action, Node
from zquant_flow.core.references import EXPRESSION, REF, TEMPLATE, fault_of, referenced_nodes
from zquant_flow.core.references import expressions as expressions_in
from zquant_flow.definitions.faults import FieldError, Path, did_you_mean
from zquant_flow.errors import DefinitionError, ExpressionError
from zquant_flow.runner.words import needs_shell, split_command
from zquant_flow.wording import joined, say


@dataclass(frozen=True, slots=True)
class Known:
    """What an expression may name at one place; `nodes` None outside of a workflow, `items` where there is one of several."""

    params: Collection[str]
    nodes: Collection[str] | None = None
    items: bool = False


def check_action(action: Action, base: Path, known: Known, errors: list[FieldError]) -> None:
    """Adds the faults of an action's templates to `errors`."""
    for word, text in _templates(action):
        check_text(text, (*base, *word), known, errors, template=True)


def check_arguments(arguments: Mapping[str, Any], path: Path, known: Known, errors: list[FieldError]) -> None:
    """Adds the faults of the expressions in a node's params to `errors`."""
    for kind, text in expressions_in(arguments):
        check_text(text, path, known, errors, template=kind == TEMPLATE)


def check_text(
    text: str, path: Path, known: Known, errors: list[FieldError], *, template: bool = False
) -> None:
    """Adds the first fault of an expression or template to `errors`, if it has one."""
    try:
        names = check(text, template=template)
    except ExpressionError as error:
        errors.append(FieldError(path, error.detail, error.code))
        return
    message = next(filter(None, (_fault_of(words, names, known) for words in names.paths)), None)
    if message is not None:
        errors.append(FieldError(path, message, "invalid_reference"))


def only_with_items(name: str) -> str:
    """Says that there is no item at this place."""
    return say("{name!r} is known only to the params and templates of a node with for_each", name=name)


def with_templates(value: Any) -> Any:
    """A node's params with `{{ }}` in their texts as references and expressions, so that a value keeps its type."""
    if isinstance(value, str):
        return _computed(value) if is_template(value) else value
    if isinstance(value, Mapping):
        return {key: with_templates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_templates(item) for item in value]
    return value


def nodes_named(node: Node) -> set[str]:
    """The nodes whose results this one uses, in its params, conditions, items or templates. Its texts have been checked."""
    found = nodes_looked_into(node)
    return found | referenced_nodes(node.arguments) if node.arguments else found


def nodes_looked_into(node: Node) -> set[str]:
    """Those whose results must be known before an attempt of it begins; what only its own function takes need not."""
    found: set[str] = set()
    if node.arguments:
        itself = node.action is not None and node.action.executor != "command"
        found = _nodes_in_expressions(node.arguments) if itself else _nodes_in_values(node.arguments)
    if node.for_each is not None:
        if node.for_each.expression is not None:
            found |= _nodes_in(node.for_each.expression, template=False)
        found |= _nodes_in_values(node.for_each.items or ())
    if node.when is not None:
        found |= _nodes_in(node.when, template=False)
    if node.approval is not None and is_template(node.approval.message):
        found |= _nodes_in(node.approval.message, template=True)
    if node.action is not None:
        for _, text in _templates(node.action):
            found |= _nodes_in(text, template=True)
    return found


def _nodes_in_values(value: Any) -> set[str]:
    return referenced_nodes(value) | _nodes_in_expressions(value)


def _nodes_in_expressions(value: Any) -> set[str]:
    found: set[str] = set()
    for kind, text in expressions_in(value):
        found |= _nodes_in(text, template=kind == TEMPLATE)
    return found


def _nodes_in(text: str, *, template: bool) -> set[str]:
    if "nodes" not in text:
        return set()
    try:
        names = check(text, template=template)
    except ExpressionError:  # a definition of an older version: its attempt says so
        return set()
    return {str(path[1]) for path in names.paths if path[0] == "nodes" and len(path) > 1}


def _templates(action: Action) -> Iterator[tuple[Path, str]]:
    """The texts of an action that are rendered, and where they stand."""
    if action.executor == "command":
        for word in _words(action.config.get("command"), action.config.get("shell")):
            if is_template(word):
                yield ("command",), word
    elif action.executor != "python":
        yield from _in_config(action.config, ("config",))
    for name, value in action.env.items():
        if is_template(value):
            yield ("env", name), value
    if action.working_dir is not None and is_template(action.working_dir):
        yield ("working_dir",), action.working_dir


def _in_config(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        if is_template(value):
            yield path, value
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _in_config(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _in_config(item, (*path, index))


def _words(command: Any, shell: Any) -> list[str]:
    if not isinstance(command, str):
        return command if isinstance(command, list) else []
    if not is_template(command) or needs_shell(command):
        return []
    try:
        return split_command(command, shell)
    except DefinitionError:
        return []


def _computed(text: str) -> Any:
    try:
        path = path_of(text)
    except ExpressionError:
        path = None
    if path is not None and fault_of(list(path)) is None:
        return {REF: list(path)}
    return {EXPRESSION: bare(text)} if single(text) else {TEMPLATE: text}


def _fault_of(path: expressions.Path, names: Names, known: Known) -> str | None:
    root = str(path[0])
    if root in expressions.OF_ITEMS:
        return None if known.items else only_with_items(root)
    if root not in expressions.ROOTS:
        hint = did_you_mean(root, expressions.ROOTS)
        known_roots = joined(", ", expressions.ROOTS)
        return say("unknown name {name!r}{hint}: known are {known}", name=root, hint=hint, known=known_roots)
    if root == "params":
        return _fault_of_param(path, names, known)
    return _fault_of_node(path, known) if root == "nodes" else None


def _fault_of_param(path: expressions.Path, names: Names, known: Known) -> str | None:
    if len(path) == 1 or path in names.optional or path[1] in known.params:
        return None
    hint = did_you_mean(str(path[1]), known.params)
    return say(
        "there is no param {name!r}{hint}: add it to `params`, or write params.{name}|default('...')",
        name=str(path[1]),
        hint=hint,
    )


def _fault_of_node(path: expressions.Path, known: Known) -> str | None:
    if known.nodes is None:
        return say("`nodes` is known to the nodes of a workflow only: give the task a param")
    if len(path) == 1:
        return say("name the node: nodes.NAME.result, or nodes['NAME'].result")
    if path[1] not in known.nodes:
        hint = did_you_mean(str(path[1]), known.nodes)
        return say("there is no node {name!r} in this workflow{hint}", name=str(path[1]), hint=hint)
    if len(path) == 2 or path[2] != "result":
        return say("of a node only its result is known: nodes.{name}.result", name=str(path[1]))
    return None
