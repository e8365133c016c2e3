"""What does a workflow do with a result that lies in a file, and what where that is gone?"""

from __future__ import annotations

import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_earlier import python
from tests.engine.test_resume_and_backfill import row_of, rows_of
from zquant_flow.core.model import Action, ForEach, OnFailure, WorkflowType
from zquant_flow.engine import large_results, log_archive, log_files, passing
from zquant_flow.result_files import result_path, write
from zquant_flow.testing import Harness, command_node, command_task, workflow_task

AT_ONCE: dict[str, Any] = {"workflow_type": WorkflowType.PARALLEL, "on_failure": OnFailure.CONTINUE}
BIG = {"rows": [{"code": "a"}, {"code": "b"}], "count": 2}
TEXT = json.dumps(BIG)
WHOLE = {"$ref": ["nodes", "load", "result"]}


@pytest.fixture
def h(tmp_path: Path) -> Iterator[Harness]:
    with Harness(tmp_path) as harness:
        harness.engine.lifecycle.workflows.aside = None  # what is read is read at once
        yield harness


def started(h: Harness, *nodes: Any, **keys: Any) -> int:
    [task] = h.define(workflow_task("flow", [command_node("load"), *nodes], **{**AT_ONCE, **keys}))
    return h.operations.trigger(task, actor="me")


def give(h: Harness, node: str = "load", value: Any = BIG, kind: str = "success") -> Path:
    """End a node with a large result, as its worker does: the file first."""
    id_ = h.backend.node(node)
    path, data = result_path(h.folder / "data", id_), json.dumps(value).encode()
    write(path, data)
    h.end(id_, kind, result_size=len(data))
    return Path(path)


def order_of(h: Harness, node: str) -> dict[str, Any]:
    return h.backend.active[h.backend.node(node)]


def error_of(h: Harness, root: int, node: str) -> tuple[str, str]:
    row = rows_of(h, root)[node]
    return row.error_code, row.error_message


def running(*words: str) -> Action:
    return Action(executor="command", config={"command": list(words)})


def test_the_row_has_the_size_and_nothing_that_a_user_could_have_returned(h: Harness) -> None:
    root = started(h)
    give(h)
    assert (rows_of(h, root)["load"].result, rows_of(h, root)["load"].result_size) == (None, len(TEXT))


def test_a_function_reads_the_file_itself_and_its_row_keeps_the_reference(h: Harness) -> None:
    rest = {"sum": {"$expr": "1 + 1"}, "whole": [WHOLE]}
    root = started(h, command_node("use", "load", action=python(), arguments=rest))
    path = give(h)
    for _ in range(2):
        order = order_of(h, "use")
        assert order["params"] == {"sum": 2, "whole": [WHOLE]}
        assert (order["filed"], order["taken"]) == ({"load": [str(path)]}, ["whole"])
        h.restart()
    assert json.loads(rows_of(h, root)["use"].params) == {"sum": 2, "whole": [WHOLE]}


def test_a_retry_after_a_crash_gets_the_file_again(h: Harness) -> None:
    started(h, command_node("use", "load", action=python(retries=1), arguments={"whole": WHOLE}))
    path = give(h)
    h.end(h.backend.node("use"), "failed")
    h.restart()
    h.tick(60)
    order = order_of(h, "use")
    assert (order["attempt"], order["filed"]) == (2, {"load": [str(path)]})


def test_conditions_templates_items_and_commands_see_the_value(h: Harness) -> None:
    started(
        h,
        command_node("tell", "load", action=running("echo", "{{ nodes.load.result.rows[1].code }}")),
        command_node("if", "load", when="nodes.load.result.count == 2"),
        command_node("not", "load", when="nodes.load.result.count == 3"),
        command_node("each", "load", for_each=ForEach(expression="nodes.load.result.rows")),
        command_node("take", "load", arguments={"count": {"$ref": ["nodes", "load", "result", "count"]}}),
    )
    path = give(h)
    nodes = {order["node"]: order for order in h.backend.active.values()}
    assert set(nodes) == {"tell", "if", "each[0]", "each[1]", "take"}
    assert nodes["tell"]["config"] == {"command": ["echo", "b"]}
    assert nodes["each[1]"]["params"] == {"item": {"code": "b"}}
    assert nodes["take"]["params"] == {"count": 2}
    assert nodes["if"]["filed"] == {"load": [str(path)]}
    assert "results" not in nodes["if"]
    assert "filed" not in nodes["each[0]"]


def test_a_crash_in_between_reads_it_again(h: Harness) -> None:
    root = started(
        h, command_node("b"), command_node("tell", "load", "b", when="nodes.load.result.count == 2")
    )
    give(h)
    h.restart()
    h.end(h.backend.node("b"))
    assert order_of(h, "tell")["filed"].keys() == {"load"}
    h.end(h.backend.node("tell"))
    assert h.status(root) == "success"


def test_the_engine_does_not_wait_for_the_disk(h: Harness) -> None:
    started(h, command_node("tell", "load", when="nodes.load.result.count == 2"))
    posted = threading.Event()
    threads: list[str] = []

    def read(filed: Any) -> Any:
        threads.append(threading.current_thread().name)
        return large_results.LargeResults(h.folder / "data").read(filed)

    def aside(work: Any, then: Any) -> None:
        h.engine._do_aside(work, lambda: (then(), posted.set()))

    h.engine._worker._large.read = read  # type: ignore[method-assign]
    h.engine.lifecycle.workflows.aside = aside
    give(h)
    assert posted.wait(10)
    h.settle()
    assert threads == ["aside"]
    assert order_of(h, "tell")["node"] == "tell"


def test_a_lost_file_fails_the_nodes_that_look_into_it_by_name(h: Harness) -> None:
    root = started(
        h,
        command_node("if", "load", when="nodes.load.result.count == 2"),
        command_node("take", "load", arguments={"a": WHOLE}),
        command_node("or", "load", action=running("echo", "{{ nodes.load.result|default('none') }}")),
    )
    id_ = h.backend.node("load")
    h.end(id_, result_size=len(TEXT))
    path = result_path(h.folder / "data", id_)
    fault = f"nodes.load: its result is not there any more: {path}"
    assert error_of(h, root, "if") == ("when_failed", f"when: {fault}")
    assert error_of(h, root, "take") == ("invalid_params", fault)
    assert order_of(h, "or")["config"] == {"command": ["echo", "none"]}


def test_what_is_too_large_to_look_into_is_still_taken_as_it_is(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_results, "READ", 10)
    root = started(
        h,
        command_node("if", "load", when="nodes.load.result.count == 2"),
        command_node("use", "load", action=python(), arguments={"a": WHOLE}),
    )
    give(h)
    code, error = error_of(h, root, "if")
    assert (code, error[:66]) == (
        "when_failed",
        "when: nodes.load: its result has 52 bytes, more than the 10 that c",
    )
    assert order_of(h, "use")["taken"] == ["a"]


def test_of_more_than_a_command_may_get_the_rest_is_named(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "FILED_LIMIT", len(TEXT))
    started(h, command_node("more"), command_node("use", "load", "more"))
    give(h)
    give(h, "more")
    assert (order_of(h, "use")["filed"].keys(), order_of(h, "use")["left_out"]) == ({"load"}, ["more"])


def test_items_with_large_results_make_one_list(h: Harness) -> None:
    each = command_node("each", for_each=ForEach(items=(1, 2)))
    [task] = h.define(workflow_task("flow", [each], **AT_ONCE))
    root = h.operations.trigger(task, actor="me")
    give(h, "each[1]")
    h.restart()
    h.engine.lifecycle.workflows.aside = None
    h.end(h.backend.node("each[0]"), result="1")
    assert json.loads(rows_of(h, root)["each"].result) == [1, BIG]
    assert rows_of(h, root)["each"].result_size is None


def test_a_list_with_a_lost_part_is_no_success(h: Harness) -> None:
    each = command_node("each", for_each=ForEach(items=(1,)))
    [task] = h.define(workflow_task("flow", [each], **AT_ONCE))
    root = h.operations.trigger(task, actor="me")
    h.end(h.backend.node("each[0]"), result_size=5)
    code, error = error_of(h, root, "each")
    assert (code, error.partition(":")[0]) == ("result_missing", "each[0]")


def test_what_a_resume_takes_over_outlives_the_execution_before(h: Harness) -> None:
    nodes = (
        command_node("b", "load", action=python(), arguments={"a": WHOLE}),
        command_node("c", "b", when="nodes.load.result.count == 2"),
    )
    root = started(h, *nodes)
    first = give(h)
    h.end(h.backend.node("b"), "failed")
    again = h.operations.resume_execution(root, actor="me")
    h.settle()
    row = rows_of(h, again)["load"]
    own = result_path(h.folder / "data", row.id)
    assert (row.result_size, row.reused_from) == (len(TEXT), rows_of(h, root)["load"].id)
    first.unlink()
    assert Path(own).read_text() == TEXT
    assert order_of(h, "b")["filed"] == {"load": [own, str(first)]}
    h.restart()
    h.end(h.backend.node("b"))
    assert order_of(h, "c")["node"] == "c"


def test_until_it_has_its_own_it_reads_that_of_the_one_before(
    h: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = started(h, command_node("b", "load", when="nodes.load.result.count == 2"))
    give(h)
    h.end(h.backend.node("b"), "failed")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(large_results, "copy", full)
    again = h.operations.resume_execution(root, actor="me")
    h.restart()
    h.end(h.backend.node("b"))
    assert h.status(again) == "success"


def test_a_failed_command_may_have_one_too(h: Harness) -> None:
    [task] = h.define(command_task("daily"))
    number = h.operations.trigger(task, actor="me")
    h.end(number, "failed", result_size=7, code="exit_code", error="exit code 1")
    assert (row_of(h, number).result_size, row_of(h, number).error_code) == (7, "exit_code")


def test_results_go_with_the_logs_and_into_their_archive(tmp_path: Path) -> None:
    paths = [result_path(tmp_path, id_) for id_ in (7, 8)]
    write(paths[0], b"[1]")
    Path(paths[1]).hardlink_to(paths[0])
    Path(f"{paths[0]}.99_1").write_text("cut off")
    assert {file.execution_id for file in log_files.logs_in(tmp_path, 0)} == {7, 8}
    assert log_archive.pack(tmp_path, tmp_path / "a.tar", 8) == 3
    assert log_files.attempts_size(tmp_path, 7, 1) == (1, 3)
    assert log_files.remove_attempts(tmp_path, 7, 1) == (1, 3)
    log_files.remove_attempts(tmp_path, 8, 1)
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert all(member.isreg() for member in archive)
    assert log_archive.unpack(tmp_path / "a.tar", tmp_path) == 2
    assert [Path(path).read_bytes() for path in paths] == [b"[1]", b"[1]"]
