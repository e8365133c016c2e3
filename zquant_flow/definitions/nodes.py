"""Which nodes does a workflow have, and who waits for whom?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from zquant_flow.core.graph import plan_nodes
from zquant_flow.core.model import Node, OnFailure, TriggerRule, Workflow, WorkflowType
from zquant_flow.core.references import fault_of, references
from zquant_flow.definitions.actions import Executors, build_action
from zquant_flow.definitions.faults import FieldError, Path, did_you_mean
from zquant_flow.definitions.forms import UNBOUNDED, NodeForm, TaskForm
from zquant_flow.errors import GraphError

TaskNames = Callable[[int], str | None]
_OF_THE_TASK = (
    *("executor", "command", "python", "config", "shell", "env", "working_dir", "timeout", "max_retries"),
    *("retry_interval", "retry_backoff", "priority", "isolation"),
)


def build_workflow(
    form: TaskForm,
    executors: Executors,
    folder: str,
    task_name: TaskNames | None,
    params: Collection[str],
    errors: list[FieldError],
) -> Workflow | None:
    """The workflow of a task whose form has `tasks`; None where it is wrong (`errors` has grown).

    `params`: the names that its nodes may refer to.
    """
    before = len(errors)
    forms = form.tasks or []
    names = [_name_of(node, index, task_name, errors) for index, node in enumerate(forms)]
    _refuse_doubles(names, errors)
    dependencies = [_dependencies(node, index, names, forms, errors) for index, node in enumerate(forms)]
    nodes = []
    for index, (node, name, waits_for) in enumerate(zip(forms, names, dependencies, strict=True)):
        _check_references(node.params, index, name, params, names, errors)
        nodes.append(_node(node, name, waits_for, index, form, executors, folder, task_name, errors))
    if len(errors) > before:
        return None
    _check_order(names, dependencies, nodes, errors)
    timeout = form.workflow_timeout
    return Workflow(
        workflow_type=form.workflow_type or WorkflowType.SERIAL,
        on_failure=form.on_failure or OnFailure.STOP,
        max_parallel=form.max_parallel,
        timeout=None if timeout is None or timeout == UNBOUNDED else timeout,  # type: ignore[arg-type]
        nodes=tuple(nodes),
    )


def _name_of(node: NodeForm, index: int, task_name: TaskNames | None, errors: list[FieldError]) -> str:
    name = (
        node.name or node.task or (_task_by_id(node.task_id, task_name) if node.task_id is not None else None)
    )
    if name is None:
        if node.task_id is None:
            errors.append(
                FieldError(("tasks", index, "name"), "a node needs a name, or a task to run", "missing")
            )
        return f"node {index + 1}"
    return name


def _task_by_id(task_id: int, task_name: TaskNames | None) -> str | None:
    return task_name(task_id) if task_name else None


def _refuse_doubles(names: Sequence[str], errors: list[FieldError]) -> None:
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            message = f"two nodes are named {name!r}, this one and number {first[name] + 1}: give one another `name`"
            errors.append(FieldError(("tasks", index, "name"), message, "duplicate_node"))
        first.setdefault(name, index)


def _dependencies(
    node: NodeForm, index: int, names: Sequence[str], forms: Sequence[NodeForm], errors: list[FieldError]
) -> tuple[str, ...]:
    if not node.dependencies:
        return ()
    known = set(names)
    ids = (
        Counter(form.task_id for form in forms)
        if any(isinstance(word, int) for word in node.dependencies)
        else {}
    )
    found = []
    for position, word in enumerate(node.dependencies):
        path: Path = ("tasks", index, "dependencies", position)
        if isinstance(word, int):
            if ids.get(word) != 1:
                errors.append(
                    FieldError(path, _ambiguous(names[index], word, ids.get(word, 0)), "unknown_dependency")
                )
                continue
            word = names[next(at for at, form in enumerate(forms) if form.task_id == word)]
        if word not in known:
            hint = did_you_mean(word, names) or f": its nodes are {', '.join(names[:20])}"
            message = f"node {names[index]!r} waits for {word!r}, which is not in this workflow{hint}"
            errors.append(FieldError(path, message, "unknown_dependency"))
        elif word == names[index]:
            errors.append(FieldError(path, f"node {word!r} waits for itself", "cycle"))
        else:
            found.append(word)
    return tuple(dict.fromkeys(found))


def _ambiguous(name: str, task_id: int, count: int) -> str:
    if count:
        return f"node {name!r} waits for task {task_id}, which {count} nodes run: name the node instead"
    return f"node {name!r} waits for task {task_id}, which no node of this workflow runs (a number means a task_id)"


def _check_references(
    value: Any,
    index: int,
    name: str,
    params: Collection[str],
    names: Sequence[str],
    errors: list[FieldError],
) -> None:
    for words in references(value):
        message = fault_of(words)
        if message is None and words[0] == "params" and words[1] not in params:
            hint = did_you_mean(str(words[1]), params) or f": its params are {', '.join(params) or 'none'}"
            message = f"node {name!r} uses the param {words[1]!r}, which this workflow does not have{hint}"
        elif message is None and words[0] == "nodes" and words[1] not in names:
            hint = did_you_mean(words[1], names)
            message = f"node {name!r} uses the result of {words[1]!r}, which is not in this workflow{hint}"
        if message:
            errors.append(FieldError(("tasks", index, "params"), message, "invalid_reference"))


def _node(
    form: NodeForm,
    name: str,
    waits_for: tuple[str, ...],
    index: int,
    outer: TaskForm,
    executors: Executors,
    folder: str,
    task_name: TaskNames | None,
    errors: list[FieldError],
) -> Node:
    base: Path = ("tasks", index)
    task = _referenced_task(form, name, base, task_name, errors)
    action = None
    if form.task is None and form.task_id is None:
        before = len(errors)
        action = build_action(form, base, executors, folder, errors, outer)
        if action is None and len(errors) == before:
            message = (
                f"node {name!r} has nothing to run: give it command, python, task, or executor and config"
            )
            errors.append(FieldError(base, message, "nothing_to_run"))
    return Node(
        name=name,
        dependencies=waits_for,
        trigger_rule=form.trigger_rule or TriggerRule.ALL_SUCCESS,
        action=action,
        task=task,
        arguments=form.params or {},
    )


def _referenced_task(
    form: NodeForm, name: str, base: Path, task_name: TaskNames | None, errors: list[FieldError]
) -> str | None:
    if form.task is None and form.task_id is None:
        return None
    for word in _OF_THE_TASK:
        if getattr(form, word) is not None:
            message = f"node {name!r} refers to a task, and {word!r} belongs to that task: set it there"
            errors.append(
                FieldError(
                    (*base, word), f"{message} (changing it here is not available yet)", "not_available"
                )
            )
    if form.task is not None and form.task_id is not None:
        errors.append(
            FieldError((*base, "task_id"), "task and task_id name the same thing: keep one", "conflict")
        )
    if form.task is not None:
        return form.task
    assert form.task_id is not None
    found = _task_by_id(form.task_id, task_name)
    if found is None:
        message = (
            f"there is no task with the id {form.task_id}"
            if task_name
            else f"in a file a node names its task, as ids differ between installations: write `task: NAME`, not {form.task_id}"
        )
        errors.append(FieldError((*base, "task_id"), message, "task_not_found"))
    return found


def _check_order(
    names: Sequence[str],
    dependencies: Sequence[tuple[str, ...]],
    nodes: Sequence[Node],
    errors: list[FieldError],
) -> None:
    waits_for = dict(zip(names, dependencies, strict=True))
    if not any(dependencies):
        order: Sequence[int] = range(len(names))
    else:
        try:
            order = plan_nodes(names, waits_for).order
        except GraphError as exc:
            errors.append(FieldError(("tasks",), exc.detail, "cycle" if "cycle" in exc.facts else exc.code))
            return
    _check_results_exist(names, waits_for, nodes, order, errors)


def _check_results_exist(
    names: Sequence[str],
    waits_for: Mapping[str, tuple[str, ...]],
    nodes: Sequence[Node],
    order: Sequence[int],
    errors: list[FieldError],
) -> None:
    """A node that uses a result must wait for it, directly or through others."""
    uses = {
        index: {str(path[1]) for path in references(nodes[index].arguments) if path[0] == "nodes"}
        for index in order
    }
    if not any(uses.values()):
        return
    ancestors: dict[str, set[str]] = defaultdict(set)
    for index in order:
        own = ancestors[names[index]]
        for earlier in waits_for[names[index]]:
            own.add(earlier)
            own |= ancestors[earlier]
        for missing in sorted(uses[index] - own):
            message = f"node {names[index]!r} uses the result of {missing!r} without waiting for it: add it to dependencies"
            errors.append(FieldError(("tasks", index, "params"), message, "invalid_reference"))
