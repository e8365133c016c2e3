"""Which nodes does a workflow have, and who waits for whom?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zquant_flow.core.expressions import OF_ITEMS, bare
from zquant_flow.core.graph import plan_nodes
from zquant_flow.core.model import ForEach, Node, OnFailure, Overrides, TriggerRule, Workflow, WorkflowType
from zquant_flow.core.references import fault_of, references
from zquant_flow.definitions.actions import Executors, build_action, build_retry
from zquant_flow.definitions.approvals import build_approval
from zquant_flow.definitions.faults import FieldError, Path, did_you_mean
from zquant_flow.definitions.forms import UNBOUNDED, NodeForm, TaskForm
from zquant_flow.definitions.notifications import build_node_notify
from zquant_flow.definitions.templates import (
    Known,
    check_action,
    check_arguments,
    check_text,
    nodes_named,
    only_with_items,
    with_templates,
)
from zquant_flow.errors import GraphError
from zquant_flow.wording import joined, say

TaskNames = Callable[[int], str | None]
_OF_THE_TASK = ("executor", "command", "python", "config", "shell")
_OVERRIDES = (
    *("timeout", "max_retries", "retry_interval", "retry_backoff", "priority", "pool", "env", "working_dir"),
    "isolation",
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

    `task_name`: finds a registered task by id, if that is possible here. `params`: the names that nodes may refer to.
    """
    before = len(errors)
    builder = _Builder(form, executors, folder, task_name, params, errors)
    nodes = builder.nodes()
    if len(errors) == before:
        _check_order(nodes, errors)
    if len(errors) > before:
        return None
    timeout = form.workflow_timeout
    return Workflow(
        workflow_type=form.workflow_type or WorkflowType.SERIAL,
        on_failure=form.on_failure or OnFailure.STOP,
        max_parallel=form.max_parallel,
        timeout=None if timeout is None or timeout == UNBOUNDED else timeout,  # type: ignore[arg-type]
        nodes=tuple(nodes),
    )


class _Builder:
    """Builds the nodes of one workflow one by one, with what they must know of each other."""

    def __init__(
        self,
        form: TaskForm,
        executors: Executors,
        folder: str,
        task_name: TaskNames | None,
        params: Collection[str],
        errors: list[FieldError],
    ) -> None:
        self._form, self._executors, self._folder = form, executors, folder
        self._task_name, self._params, self._errors = task_name, params, errors
        self._forms = form.tasks or []
        self._tasks = [self._referenced_task(node) for node in self._forms]
        self._names = [self._name_of(index, node) for index, node in enumerate(self._forms)]
        self._known = dict.fromkeys(self._names)
        self._by_id: dict[int, list[str]] = defaultdict(list)
        for node, name in zip(self._forms, self._names, strict=True):
            if node.task_id is not None:
                self._by_id[node.task_id].append(name)

    def nodes(self) -> list[Node]:
        self._refuse_doubles()
        return [self._node(index, node) for index, node in enumerate(self._forms)]

    def _node(self, index: int, form: NodeForm) -> Node:
        name, base = self._names[index], ("tasks", index)
        arguments = with_templates(form.params) if form.params else {}
        self._check_references(index, arguments, items=form.for_each is not None)
        if form.when is not None:
            check_text(form.when, (*base, "when"), Known(self._params, self._known), self._errors)
        each = self._for_each(index, form)
        action = overrides = approval = None
        if form.approval is not None:
            approval = build_approval(
                form, name, base, Known(self._params, self._known, items=each is not None), self._errors
            )
        elif form.task is not None or form.task_id is not None:
            self._check_task(index, form)
            overrides = _overrides(form)
        else:
            if form.fail_on_partial:
                message = say("node {name!r} refers to no workflow: leave out fail_on_partial", name=name)
                self._fault((*base, "fail_on_partial"), message, "conflict")
            before = len(self._errors)
            action = build_action(form, base, self._executors, self._folder, self._errors, self._form)
            if action is None and len(self._errors) == before:
                message = say(
                    "node {name!r} has nothing to run: give it command, python, task, or executor and config",
                    name=name,
                )
                self._fault(base, message, "nothing_to_run")
            if action is not None:
                params = {*self._params, *arguments, *(("item",) if each is not None else ())}
                known = Known(params, self._known, items=each is not None)
                check_action(action, base, known, self._errors)
        return Node(
            name=name,
            dependencies=self._dependencies(index, form),
            trigger_rule=form.trigger_rule or TriggerRule.ALL_SUCCESS,
            action=action,
            task=self._tasks[index],
            arguments=arguments,
            when=None if form.when is None else bare(form.when),
            for_each=each,
            max_parallel=form.max_parallel,
            overrides=overrides,
            fail_on_partial=form.fail_on_partial,
            group=form.group or "",
            approval=approval,
            notify=build_node_notify(form, name, base, self._errors),
        )

    def _for_each(self, index: int, form: NodeForm) -> ForEach | None:
        """Where its items come from, with the templates among them read."""
        each, path = form.for_each, ("tasks", index, "for_each")
        if each is None:
            if form.max_parallel is not None:
                message = say(
                    "node {name!r} has no for_each, whose items max_parallel would limit",
                    name=self._names[index],
                )
                self._fault(("tasks", index, "max_parallel"), message, "conflict")
            return None
        known = Known(self._params, self._known)
        if each.expression is not None:
            check_text(each.expression, path, known, self._errors)
        if each.items is None:
            return each
        items = with_templates(each.items)
        check_arguments({"items": items}, path, known, self._errors)
        self._check_paths(index, items, path, items=False)
        return replace(each, items=tuple(items))

    def _referenced_task(self, form: NodeForm) -> str | None:
        if form.task is not None or form.task_id is None:
            return form.task
        return self._task_name(form.task_id) if self._task_name else None

    def _name_of(self, index: int, form: NodeForm) -> str:
        name = form.name or self._tasks[index]
        if name is None and form.task_id is None:
            self._fault(("tasks", index, "name"), say("a node needs a name, or a task to run"), "missing")
        return name or f"node {index + 1}"

    def _refuse_doubles(self) -> None:
        if len(self._known) == len(self._names):
            return
        first: dict[str, int] = {}
        for index, name in enumerate(self._names):
            if name in first:
                message = say(
                    "two nodes are named {name!r}, this one and number {first}: give one another `name`",
                    name=name,
                    first=first[name] + 1,
                )
                self._fault(("tasks", index, "name"), message, "duplicate_node")
            first.setdefault(name, index)

    def _check_task(self, index: int, form: NodeForm) -> None:
        base: Path = ("tasks", index)
        for word in _OF_THE_TASK:
            if getattr(form, word) is not None:
                message = say(
                    "node {name!r} refers to a task, and {word!r} belongs to that task: set it there",
                    name=self._names[index],
                    word=word,
                )
                self._fault((*base, word), message, "conflict")
        if form.task is not None and form.task_id is not None:
            self._fault(
                (*base, "task_id"), say("task and task_id name the same thing: keep one of them"), "conflict"
            )
        if self._tasks[index] is None:
            message = say("there is no task with the id {task_id}", task_id=form.task_id)
            if self._task_name is None:
                message = say(
                    "ids differ between installations: in a file write `task: NAME` in place of task_id"
                )
            self._fault((*base, "task_id"), message, "task_not_found")

    def _dependencies(self, index: int, form: NodeForm) -> tuple[str, ...]:
        own, found = self._names[index], []
        for position, word in enumerate(form.dependencies or ()):
            path: Path = ("tasks", index, "dependencies", position)
            name = self._by_task_id(word, own, path) if isinstance(word, int) else word
            if name is None:
                continue
            if name not in self._known:
                hint = did_you_mean(name, self._known) or say(
                    ": its nodes are {known}", known=joined(", ", self._names[:20])
                )
                message = say(
                    "node {name!r} waits for {wanted!r}, which is not in this workflow{hint}",
                    name=own,
                    wanted=name,
                    hint=hint,
                )
                self._fault(path, message, "unknown_dependency")
            elif name == own:
                self._fault(path, say("node {name!r} waits for itself", name=own), "cycle")
            else:
                found.append(name)
        return tuple(dict.fromkeys(found))

    def _by_task_id(self, task_id: int, own: str, path: Path) -> str | None:
        """A number means a node's task_id, and must match exactly one (SEMANTICS §3)."""
        names = self._by_id.get(task_id, ())
        if len(names) == 1:
            return names[0]
        message = say(
            "node {own!r} waits for task {task_id}, which no node of this workflow runs (a number means a task_id)",
            own=own,
            task_id=task_id,
        )
        if names:
            message = say(
                "node {own!r} waits for task {task_id}, which {count} nodes run: name the node instead",
                own=own,
                task_id=task_id,
                count=len(names),
            )
        self._fault(path, message, "unknown_dependency")
        return None

    def _check_references(self, index: int, arguments: Mapping[str, Any], *, items: bool) -> None:
        if arguments:
            path = ("tasks", index, "params")
            check_arguments(arguments, path, Known(self._params, self._known, items=items), self._errors)
            self._check_paths(index, arguments, path, items=items)

    def _check_paths(self, index: int, value: Any, path: Path, *, items: bool) -> None:
        """The references in a value: to params and nodes that are there, to an item only where there are some."""
        own = self._names[index]
        for words in references(value):
            message = fault_of(words)
            if message is None and words[0] in OF_ITEMS and not items:
                message = only_with_items(words[0])
            if message is None and words[0] == "params" and words[1] not in self._params:
                hint = did_you_mean(str(words[1]), self._params) or say(
                    ": it has {known}", known=joined(", ", self._params) or say("none")
                )
                message = say(
                    "node {own!r} uses the param {param!r}, which this workflow does not have{hint}",
                    own=own,
                    param=words[1],
                    hint=hint,
                )
            elif message is None and words[0] == "nodes" and words[1] not in self._known:
                hint = did_you_mean(words[1], self._known)
                message = say(
                    "node {own!r} uses the result of {other!r}, which is not in this workflow{hint}",
                    own=own,
                    other=words[1],
                    hint=hint,
                )
            if message:
                self._fault(path, message, "invalid_reference")

    def _fault(self, path: Path, message: str, code: str) -> None:
        self._errors.append(FieldError(path, message, code))


def _overrides(form: NodeForm) -> Overrides | None:
    """What a reference says of the task that it refers to; None where it says nothing."""
    if all(getattr(form, word) is None for word in _OVERRIDES):
        return None
    unbounded = form.timeout == UNBOUNDED
    return Overrides(
        timeout=None if unbounded else form.timeout,  # type: ignore[arg-type]
        unbounded=unbounded,
        max_retries=form.max_retries,
        retry_interval=form.retry_interval,
        retry_backoff=build_retry(form, None).backoff,
        priority=form.priority,
        pool=form.pool,
        env=form.env or {},
        working_dir=form.working_dir,
        isolation=form.isolation,
    )


def _check_order(nodes: Sequence[Node], errors: list[FieldError]) -> None:
    waits_for = {node.name: node.dependencies for node in nodes}
    if any(waits_for.values()):
        try:
            plan_nodes(list(waits_for), waits_for)
        except GraphError as exc:
            errors.append(FieldError(("tasks",), exc.detail, "cycle" if "cycle" in exc.facts else exc.code))
            return
    for index, node in enumerate(nodes):
        for missing in sorted(nodes_named(node).difference(node.dependencies)):
            if not _waits(node.name, missing, waits_for):
                message = say(
                    "node {name!r} uses the result of {missing!r} without waiting for it: add it to dependencies",
                    name=node.name,
                    missing=missing,
                )
                errors.append(FieldError(_place_of(index, node, missing), message, "invalid_reference"))


def _place_of(index: int, node: Node, other: str) -> Path:
    """Where a node names another."""
    if other in nodes_named(replace(node, action=None, when=None, for_each=None, approval=None)):
        return ("tasks", index, "params")
    if other in nodes_named(replace(node, action=None, when=None, approval=None)):
        return ("tasks", index, "for_each")
    if other in nodes_named(replace(node, action=None, approval=None)):
        return ("tasks", index, "when")
    return ("tasks", index)


def _waits(name: str, earlier: str, waits_for: Mapping[str, tuple[str, ...]]) -> bool:
    """Does a node wait for another, directly or through others?"""
    left, seen = [name], {name}
    while left:
        for found in waits_for[left.pop()]:
            if found == earlier:
                return True
            if found not in seen:
                seen.add(found)
                left.append(found)
    return False
