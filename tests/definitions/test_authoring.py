import subprocess
import sys

import pytest

from zquant_flow.definitions.authoring import (
    AuthoringError,
    NodeRef,
    TaskFunction,
    item,
    raw_definitions,
    required_params,
    task,
    workflow,
)


@task(cron="0 18 * * 1-5", max_retries=3, timeout="10m")
def sync_daily(symbol: str = "ALL", limit: int = 100):
    """Sync daily bars.

    More about it.
    """
    return {"symbol": symbol, "rows": limit}


@task
def calendar():
    return ["2026-01-05"]


@task(name="report", priority=2, trigger_rule="all_done")
def make_report(rows, *, title="x"):
    return rows


@task
def standing_alone(n=1):
    return n


def nodes_of(body, **keys):
    return workflow(**keys)(body).nodes()


def test_a_task_is_called_as_the_plain_function_outside_a_workflow():
    assert sync_daily("A", limit=1) == {"symbol": "A", "rows": 1}
    assert isinstance(sync_daily, TaskFunction)
    assert sync_daily.__name__ == "sync_daily"
    assert sync_daily.__doc__.startswith("Sync")
    assert sync_daily.__wrapped_task__("B", 2) == {"symbol": "B", "rows": 2}


def test_a_call_in_a_workflow_body_is_a_node():
    def body():
        ref = calendar()
        assert isinstance(ref, NodeRef)

    assert nodes_of(body) == [{"name": "calendar", "python": f"{__name__}:calendar"}]


def test_keys_of_the_attempt_go_with_the_node_and_the_schedule_does_not():
    def body():
        sync_daily()
        make_report(1)

    daily, report = nodes_of(body)
    assert daily == {
        "name": "sync_daily",
        "python": f"{__name__}:sync_daily",
        "max_retries": 3,
        "timeout": "10m",
    }
    assert report["priority"] == 2
    assert report["trigger_rule"] == "all_done"
    assert report["name"] == "report"


def test_results_params_and_order_become_references_and_dependencies():
    def body(symbol="ALL", options=None):
        days = calendar()
        daily = sync_daily(symbol=symbol, limit=options["limit"]).after(days)
        make_report([daily.result["rows"], days], title={"t": symbol}).after(days)

    _, daily, report = nodes_of(body)
    assert daily["params"] == {
        "symbol": {"$ref": ["params", "symbol"]},
        "limit": {"$ref": ["params", "options", "limit"]},
    }
    assert daily["dependencies"] == ["calendar"]
    assert report["params"] == {
        "rows": [
            {"$ref": ["nodes", "sync_daily", "result", "rows"]},
            {"$ref": ["nodes", "calendar", "result"]},
        ],
        "title": {"t": {"$ref": ["params", "symbol"]}},
    }
    assert report["dependencies"] == ["calendar", "sync_daily"]


def test_the_nth_call_is_numbered_and_a_name_given_later_counts_everywhere():
    def body():
        first = calendar()
        second = calendar()
        calendar()
        make_report(second)
        second.named("again")
        make_report(first)

    made = nodes_of(body)
    assert [node["name"] for node in made] == ["calendar", "again", "calendar-3", "report", "report-2"]
    assert made[3]["dependencies"] == ["again"]
    assert made[3]["params"] == {"rows": {"$ref": ["nodes", "again", "result"]}}


@pytest.mark.parametrize(
    ("use", "named"),
    [
        (lambda ref: bool(ref), "when"),
        (lambda ref: list(ref), "for_each"),
        (lambda ref: [*ref], "for_each"),
        (lambda ref: ref + 1, "when"),
        (lambda ref: 1 + ref, "for_each"),
        (lambda ref: ref < 3, "when"),
        (lambda ref: -ref, "when"),
        (lambda ref: len(ref), "for_each"),
        (lambda ref: f"{ref}", "argument"),
        (lambda ref: str(ref), "argument"),
        (lambda ref: int(ref), "when"),
        (lambda ref: "a" in ref, "when"),
    ],
)
def test_what_has_no_value_yet_can_not_be_used_as_one(use, named):
    def of_node():
        use(calendar())

    def of_result():
        use(calendar().result["rows"])

    def of_param(symbol="x"):
        use(symbol)

    for body in (of_node, of_result, of_param):
        with pytest.raises(AuthoringError, match=named):
            nodes_of(body)


def test_a_node_runs_for_each_item_of_a_list_a_range_a_param_or_a_result():
    def body(codes=()):
        days = calendar()
        sync_daily(symbol=item["code"], limit=item.index).for_each(days.result["days"], max_parallel=4)
        sync_daily(symbol=item).for_each(codes).in_group("sync/daily")
        sync_daily(symbol=item).for_each(range(1, 9, 2)).fails_on_partial()
        sync_daily(symbol=item).for_each(["a", days])
        sync_daily(symbol=item).for_each(days)

    _, result, param, span, listed, node = nodes_of(body)
    assert result["for_each"] == 'nodes["calendar"]["result"]["days"]'
    assert result["params"] == {"symbol": {"$ref": ["item", "code"]}, "limit": {"$ref": ["index"]}}
    assert (result["max_parallel"], result["dependencies"]) == (4, ["calendar"])
    assert (param["for_each"], param["group"]) == ('params["codes"]', "sync/daily")
    assert (span["for_each"], span["fail_on_partial"]) == ({"range": [1, 9, 2]}, True)
    assert listed["for_each"] == ["a", {"$ref": ["nodes", "calendar", "result"]}]
    assert (node["for_each"], node["dependencies"]) == ('nodes["calendar"]["result"]', ["calendar"])


def test_an_item_has_no_value_in_the_body():
    with pytest.raises(AuthoringError, match="the item of a node has no value yet"):
        nodes_of(lambda: sync_daily(symbol=f"{item}"))


def test_a_part_of_a_node_is_a_part_of_its_result():
    with pytest.raises(AuthoringError, match=r"\.result\['rows'\]"):
        nodes_of(lambda: calendar()["rows"])
    with pytest.raises(AuthoringError, match="after"):
        nodes_of(lambda: calendar().after("calendar"))


def test_a_call_must_fit_the_function():
    with pytest.raises(AuthoringError, match=r"sync_daily.*unexpected keyword argument 'symbl'"):
        nodes_of(lambda: sync_daily(symbl=1))
    with pytest.raises(AuthoringError, match="missing a required argument"):
        nodes_of(lambda: make_report())


def test_a_node_belongs_to_one_workflow():
    kept = []
    nodes_of(lambda: kept.append(calendar()))
    with pytest.raises(AuthoringError, match="another workflow"):
        nodes_of(lambda: make_report(kept[0]))


def test_a_workflow_in_a_workflow_is_a_reference_by_name():
    @workflow(name="inner")
    def inner(symbol="x"):
        calendar()

    def outer():
        inner(symbol="y")

    assert nodes_of(outer) == [{"name": "inner", "task": "inner", "params": {"symbol": "y"}}]


def test_workflow_bodies_do_not_see_each_others_calls_after_a_failure():
    with pytest.raises(ZeroDivisionError):
        nodes_of(lambda: 1 / 0)
    assert calendar() == ["2026-01-05"]


def test_decorators_stand_on_functions():
    for thing in (5, print, calendar):
        with pytest.raises(AuthoringError, match="function"):
            task(thing)
    with pytest.raises(AuthoringError, match="names its parameters"):
        nodes_of(lambda *args: None)


def test_required_params_are_those_without_default():
    assert required_params(lambda a, b=1, *c, d, **e: None) == ["a", "d"]


def test_definitions_come_in_the_order_of_the_module_and_private_tasks_stay_private(tmp_path, monkeypatch):
    (tmp_path / "authored_here.py").write_text(
        "from zquant_flow.definitions.authoring import task, workflow\n"
        "@task\ndef inside(): 'Used below.'\n"
        "@task(interval=5)\ndef also_alone(n: int = 1): ...\n"
        "@task(trigger_rule='all_done', params={'n': 5})\ndef alone(n=1, m=2): 'Stands alone.'\n"
        "@workflow(workflow_type='parallel')\ndef flow(symbol='ALL'):\n    inside()\n    also_alone()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    __import__("authored_here")
    made = [raw for _, raw in raw_definitions("authored_here")]
    assert [raw["name"] for raw in made] == ["also_alone", "alone", "flow"]
    assert made[1] == {
        "name": "alone",
        "params": {"n": 5, "m": 2},
        "python": "authored_here:alone",
        "description": "Stands alone.",
    }
    assert [node["name"] for node in made[2]["tasks"]] == ["inside", "also_alone"]
    assert made[2]["params"] == {"symbol": "ALL"}


def test_workers_import_it_without_anything_but_the_standard_library():
    script = (
        "import sys, zquant_flow.definitions.authoring\n"
        "bad = {'pydantic', 'yaml', 'watchdog', 'networkx', 'inspect', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(bad)) or 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
