from datetime import timedelta

import pytest

from zquant_flow.core.model import (
    Backoff,
    ForEach,
    Node,
    OnFailure,
    Overrides,
    TriggerRule,
    WorkflowType,
    decode,
    encode,
)
from zquant_flow.definitions.schema import DefinitionErrors, parse_definition

EXECUTORS = {"command": None, "python": None, "example": None}
REGISTERED = {1: "任务一", 2: "任务二"}


def workflow(origin="file", **raw):
    made = parse_definition(
        {"name": "w", **raw}, origin=origin, executors=EXECUTORS, task_name=REGISTERED.get
    ).task
    assert decode(encode(made)) == made
    return made.workflow


def faults(origin="file", task_name=REGISTERED.get, **raw):
    with pytest.raises(DefinitionErrors) as caught:
        parse_definition({"name": "w", **raw}, origin=origin, executors=EXECUTORS, task_name=task_name)
    return {error.field: (error.code, error.message) for error in caught.value.errors}


def nodes(**dependencies):
    return [
        {"name": name, "command": "x", "dependencies": waits_for} for name, waits_for in dependencies.items()
    ]


def test_a_workflow_has_inline_nodes_and_references():
    made = workflow(
        workflow_type="parallel",
        on_failure="continue",
        max_parallel=4,
        workflow_timeout="2h",
        params={"symbol": "ALL"},
        tasks=[
            {"name": "calendar", "command": "python sync_calendar.py"},
            {
                "name": "daily",
                "python": "sync:daily",
                "dependencies": ["calendar"],
                "trigger_rule": "all_done",
            },
            {
                "task": "publish-report",
                "dependencies": ["daily"],
                "params": {"symbol": {"$ref": ["params", "symbol"]}},
            },
        ],
    )
    assert made.workflow_type is WorkflowType.PARALLEL
    assert made.on_failure is OnFailure.CONTINUE
    assert made.max_parallel == 4
    assert made.timeout == timedelta(hours=2)
    assert [node.name for node in made.nodes] == ["calendar", "daily", "publish-report"]
    assert made.nodes[1].trigger_rule is TriggerRule.ALL_DONE
    assert made.nodes[2] == Node(
        name="publish-report",
        task="publish-report",
        dependencies=("daily",),
        arguments={"symbol": {"$ref": ["params", "symbol"]}},
    )


def test_the_workflows_bounds_are_defaults_for_inline_nodes_and_the_nodes_own_win():
    made = workflow(
        timeout="none",
        max_retries=3,
        retry_interval=5,
        retry_backoff=2,
        env={"A": "1", "B": "1"},
        tasks=[
            {"name": "a", "command": "x"},
            {
                "name": "b",
                "command": "x",
                "timeout": 9,
                "max_retries": 0,
                "env": {"B": "2"},
                "retry_backoff": {"factor": 3},
            },
        ],
    )
    first, second = (node.action for node in made.nodes)
    assert (first.timeout, first.retry.max_retries, first.retry.interval) == (None, 3, timedelta(seconds=5))
    assert first.retry.backoff == Backoff(factor=2.0)
    assert (second.timeout, second.retry.max_retries) == (timedelta(seconds=9), 0)
    assert second.retry.backoff == Backoff(factor=3.0)
    assert second.env == {"A": "1", "B": "2"}


def test_a_node_that_refers_to_a_task_does_not_change_it_silently():
    found = faults(tasks=[{"task": "t", "command": "x"}])
    assert found["tasks.0.command"][0] == "conflict"


def test_an_unknown_dependency_is_named_with_the_nearest_node():
    found = faults(tasks=nodes(extract=[], load=["extrat"]))
    assert found["tasks.1.dependencies.0"] == (
        "unknown_dependency",
        "node 'load' waits for 'extrat', which is not in this workflow (did you mean 'extract'?)",
    )


def test_a_cycle_names_its_nodes_in_order():
    code, message = faults(tasks=nodes(a=["b"], b=["a"], c=["a"]))["tasks"]
    assert code == "cycle"
    assert "a -> b -> a" in message


def test_doubles_and_self_dependencies_are_refused():
    found = faults(tasks=[*nodes(a=[], b=["b"]), *nodes(a=[])])
    assert found["tasks.2.name"][0] == "duplicate_node"
    assert found["tasks.1.dependencies.0"] == ("cycle", "node 'b' waits for itself")


def test_a_node_needs_a_name_and_something_to_run():
    found = faults(tasks=[{"command": "x"}, {"name": "b"}, {"name": "c", "command": "x", "task": "t"}])
    assert found["tasks.0.name"][0] == "missing"
    assert found["tasks.1"][0] == "nothing_to_run"
    assert found["tasks.2.command"][0] == "conflict"


def test_a_workflow_has_no_command_of_its_own():
    assert faults(command="x", tasks=nodes(a=[]))["command"][0] == "conflict"
    assert faults(task_type="common_task", tasks=nodes(a=[]))["task_type"][0] == "conflict"
    assert faults(command="x", workflow_type="serial")["workflow_type"][0] == "conflict"
    assert faults(task_type="workflow", cron="* * * * *")["tasks"][0] == "nothing_to_run"


def test_faults_in_nodes_do_not_hide_faults_elsewhere():
    found = faults(
        cron="99 * * * *",
        tasks=[
            {"name": "a", "command": 5, "poool": 1},
            "not a node",
            {"name": "c", "command": "x", "dependencies": ["b", True]},
            {"name": "d", "command": "x", "dependencies": ["zz"]},
        ],
    )
    assert {
        "cron",
        "tasks.0.command",
        "tasks.0.poool",
        "tasks.1",
        "tasks.2.dependencies.1",
        "tasks.3.dependencies.0",
    } == (found.keys())


# References to params and results


def test_a_result_can_be_used_by_a_node_that_waits_for_it_also_through_others():
    made = workflow(
        tasks=[
            *nodes(a=[], b=["a"]),
            {
                "name": "c",
                "command": "x",
                "dependencies": ["b"],
                "params": {"v": {"$ref": ["nodes", "a", "result", 0]}},
            },
        ]
    )
    assert made.nodes[2].arguments == {"v": {"$ref": ["nodes", "a", "result", 0]}}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (["nodes", "b", "result"], "without waiting for it"),
        (["nodes", "bb", "result"], "not in this workflow"),
        (["params", "symbl"], "did you mean 'symbol'?"),
        (["env", "HOME"], "a reference is"),
        (["nodes", "b"], "a reference is"),
    ],
)
def test_a_reference_that_can_not_be_resolved_is_refused(path, said):
    found = faults(
        params={"symbol": 1},
        tasks=[
            {"name": "a", "command": "x", "params": {"v": [{"$ref": path}]}},
            {"name": "b", "command": "x"},
        ],
    )
    assert found["tasks.0.params"][0] == "invalid_reference"
    assert said in found["tasks.0.params"][1]


def test_a_reference_in_a_tasks_own_params_means_nothing():
    assert faults(command="x", params={"a": {"$ref": ["params", "b"]}})["params"][0] == "invalid_reference"


# The origin's form


def origin(tasks, **more):
    return {
        "task_type": "workflow",
        "config": {"workflow_type": "serial", "tasks": tasks, "on_failure": "stop", **more},
    }


def test_numbers_in_the_origins_dependencies_mean_task_ids_and_become_names():
    made = workflow(
        "rest",
        **origin(
            [
                {"task_id": 1, "name": "一", "dependencies": []},
                {"task_id": 2, "name": None, "dependencies": [1]},
            ]
        ),
    )
    assert made.nodes == (
        Node(name="一", task="任务一"),
        Node(name="任务二", task="任务二", dependencies=("一",)),
    )


def test_a_number_must_mean_exactly_one_node():
    found = faults(
        "rest",
        **origin(
            [
                {"task_id": 1, "name": "a"},
                {"task_id": 1, "name": "b"},
                {"task_id": 2, "name": "c", "dependencies": [1, 9]},
                {"task_id": 7, "name": "d"},
            ]
        ),
    )
    assert "which 2 nodes run" in found["config.tasks.2.dependencies.0"][1]
    assert "no node of this workflow runs" in found["config.tasks.2.dependencies.1"][1]
    assert found["config.tasks.3.task_id"][0] == "task_not_found"


def test_in_a_file_a_node_names_its_task():
    found = faults(task_name=None, tasks=[{"task_id": 1, "name": "a"}])
    assert "`task: NAME`" in found["tasks.0.task_id"][1]


def test_inline_nodes_over_rest_get_the_origins_retries():
    made = workflow("rest", tasks=[{"name": "a", "config": {"command": "x", "timeout_seconds": 5}}])
    assert made.nodes[0].action.retry.max_retries == 3
    assert made.nodes[0].action.timeout == timedelta(seconds=5)


def test_twenty_thousand_nodes_are_planned_in_seconds():
    chain = [
        {"name": f"n{i}", "command": "x", "dependencies": [f"n{i - 1}"] if i % 10 else []}
        for i in range(20_000)
    ]
    assert len(workflow(workflow_type="parallel", tasks=chain).nodes) == 20_000


def test_a_reference_says_what_it_changes_of_its_task():
    found = workflow(tasks=[{"task": "t", "timeout": "none", "max_retries": 2, "pool": "p", "group": "g/h"}])
    [node] = found.nodes
    assert node.overrides == Overrides(unbounded=True, max_retries=2, pool="p")
    assert node.group == "g/h"
    assert workflow(tasks=[{"task": "t"}]).nodes[0].overrides is None


def test_fail_on_partial_is_for_nodes_that_refer_to_a_workflow():
    found = faults(tasks=[{"name": "a", "command": "x", "fail_on_partial": True}])
    assert found["tasks.0.fail_on_partial"][0] == "conflict"


def of_items(value, **keys):
    node = {"name": "b", "command": "x", "dependencies": ["a"], "for_each": value, **keys}
    return [{"name": "a", "command": "x"}, node]


def test_items_are_a_list_an_expression_or_a_range():
    def each(value, **keys):
        return workflow(params={"codes": []}, tasks=of_items(value, **keys)).nodes[1].for_each

    assert each([1, "b"]) == ForEach(items=(1, "b"))
    assert each([]) == ForEach(items=())
    assert each("{{ params.codes }}") == each("params.codes") == ForEach(expression="params.codes")
    assert each({"range": 3}) == ForEach(range=(0, 3, 1))
    assert each({"range": [5, 1, -2]}, max_parallel=4) == ForEach(range=(5, 1, -2))
    assert each(["{{ nodes.a.result }}"]) == ForEach(items=({"$ref": ["nodes", "a", "result"]},))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "for_each is a list, an expression such as nodes.codes.result, or {range: 10}"),
        ({"a": 1}, "for_each is a list, an expression such as nodes.codes.result, or {range: 10}"),
        ("", "for_each is a list, an expression such as nodes.codes.result, or {range: 10}"),
        ({"range": "ten"}, "a range is a number, or [start, stop] or [start, stop, step]"),
        ({"range": [1, 2, 3, 4]}, "a range is a number, or [start, stop] or [start, stop, step]"),
        ({"range": [0, 5, 0]}, "a range can't step by 0"),
        ({"range": 10**30}, "a range ends at 9007199254740992"),
    ],
)
def test_what_is_no_source_of_items_is_refused(value, said):
    assert faults(tasks=of_items(value))["tasks.1.for_each"] == ("invalid_value", said)


@pytest.mark.parametrize(
    ("nodes", "field", "said"),
    [
        (of_items("nodes.x.result"), "tasks.1.for_each", "there is no node 'x' in this workflow"),
        (of_items("params.x"), "tasks.1.for_each", "there is no param 'x'"),
        (of_items("item"), "tasks.1.for_each", "'item' is known only to the params and templates"),
        (of_items(["{{ item }}"]), "tasks.1.for_each", "'item' is known only to the params and templates"),
        (of_items("nodes.a.result", dependencies=[]), "tasks.1.for_each", "without waiting for it"),
        (of_items([1], when="item > 1"), "tasks.1.when", "'item' is known only to the params and templates"),
        ([{"name": "a", "command": "echo {{ item }}"}], "tasks.0.command", "'item' is known only to"),
        (
            [{"name": "a", "command": "x", "params": {"y": "{{ index }}"}}],
            "tasks.0.params",
            "'index' is known",
        ),
    ],
)
def test_names_of_items_lead_somewhere(nodes, field, said):
    code, message = faults(tasks=nodes)[field]
    assert code == "invalid_reference"
    assert said in message


def test_max_parallel_of_a_node_limits_its_items():
    found = faults(tasks=[{"name": "a", "command": "x", "max_parallel": 2}])
    assert found["tasks.0.max_parallel"] == (
        "conflict",
        "node 'a' has no for_each, whose items max_parallel would limit",
    )


def test_the_item_is_known_to_the_node_itself():
    made = workflow(
        tasks=of_items(
            "nodes.a.result",
            command=["x", "{{ item.code }}", "{{ index }}", "{{ params.item }}"],
            env={"CODE": "{{ item }}"},
            params={"code": "{{ item.code }}", "file": "{{ index }}.csv"},
        )
    )
    assert made.nodes[1].arguments == {
        "code": {"$ref": ["item", "code"]},
        "file": {"$template": "{{ index }}.csv"},
    }
