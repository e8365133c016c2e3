"""The documentation says what the code has: no more and no less."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
import typer.main
from pydantic import BaseModel

from zquant_flow import errors
from zquant_flow.api.app import PREFIX, create_app
from zquant_flow.api.control import Control
from zquant_flow.api.models import EventKind
from zquant_flow.api.shapes import execution_event, task_event
from zquant_flow.cli.app import app as command_line
from zquant_flow.config import Settings
from zquant_flow.core import progress, schedule
from zquant_flow.core.graph import plan_nodes
from zquant_flow.core.model import OnFailure, TriggerRule, WorkflowType
from zquant_flow.core.notify import Notice
from zquant_flow.core.status import FINAL, LEGAL, ScheduleStatus, Status, TriggerType
from zquant_flow.definitions.forms import NodeForm, TaskForm
from zquant_flow.definitions.schema import parse_definition
from zquant_flow.definitions.yaml_text import read_yaml
from zquant_flow.executors.context import Context
from zquant_flow.executors.installed import built_in, installed
from zquant_flow.notifiers.texts import FACTS
from zquant_flow.plugin import hookspecs
from zquant_flow.plugin.channels import Channel
from zquant_flow.plugin.plugins import Plugins
from zquant_flow.plugin.sources import Sources

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "zquant_flow"
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("README*.md")])
CHINESE = DOCS / "zh"

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of its rank or above."""
    rank = len(title) - len(title.lstrip("#"))
    found = re.search(rf"^{re.escape(title)}$(.*?)(?=^#{{1,{rank}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title!r}"
    return found[1]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table, without the line of dashes."""
    for line in text.splitlines():
        if line.startswith("|") and not set(line) <= set("|- :"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def words(text: str) -> list[str]:
    """All that stands in code letters, fenced blocks left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def column(text: str, number: int = 0) -> list[str]:
    """All words in code letters of one column."""
    return [word for row in rows(text) if len(row) > number for word in words(row[number])]


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["settings.md", "zh/settings.md"])
def test_every_setting_is_documented_and_no_other(name: str) -> None:
    table = [row for row in rows(text_of(name)) if len(row) == 5][1:]
    assert [words(row[0])[0] for row in table] == list(Settings.model_fields)
    assert [words(row[1])[0] for row in table] == [
        f"ZQUANT_FLOW_{key.upper()}" for key in Settings.model_fields
    ]


@pytest.mark.parametrize("name", ["settings.md", "zh/settings.md"])
def test_documented_defaults_are_those_of_the_settings(name: str) -> None:
    for row in [row for row in rows(text_of(name)) if len(row) == 5][1:]:
        default = Settings.model_fields[words(row[0])[0]].default
        default = default.model_dump(exclude_defaults=True) if isinstance(default, BaseModel) else default
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        if shown:
            assert words(row[3])[0] == shown


@pytest.mark.parametrize("name", ["settings.md", "zh/settings.md"])
def test_documented_flags_of_settings_are_those_of_serve(name: str) -> None:
    table = [row for row in rows(text_of(name)) if len(row) == 5][1:]
    assert {flag for row in table for flag in words(row[2])} == flags_of("serve") - {
        "--handover"
    }  # no setting


# ── REST ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return create_app(cast(Control, None)).openapi()


def test_every_route_is_documented_and_no_other(openapi: dict[str, Any]) -> None:
    served = {
        (method.upper(), path.removeprefix(PREFIX))
        for path, methods in openapi["paths"].items()
        for method in methods
    }
    documented = {
        (row[0], words(row[1])[0]) for row in rows(text_of("rest.md")) if row[0].isupper() and len(row) == 4
    }
    assert documented == served


def test_every_parameter_of_a_request_is_documented(openapi: dict[str, Any]) -> None:
    given = {
        parameter["name"]
        for methods in openapi["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    }
    documented = {word.partition("=")[0] for word in words(text_of("rest.md"))}
    bodies = ("TriggerIn", "BulkIn", "BackfillIn", "RunIn", "TokenIn", "CommentIn", "MarkIn", "RerunIn")
    assert given.union(*(fields(openapi, body) for body in bodies)) <= documented


def test_every_header_of_a_request_is_documented(openapi: dict[str, Any]) -> None:
    given = {
        parameter["name"]
        for methods in openapi["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "header"
    }
    documented = column(section(text_of("rest.md"), "## What all routes share"))
    assert given <= set(documented)


def test_every_field_of_every_answer_is_somewhere(openapi: dict[str, Any]) -> None:
    said = {
        name
        for page in ("rest.md", "statistics.md")
        for word in words(text_of(page))
        for name in re.findall(r"\w+", word)
    }
    schemas = openapi["components"]["schemas"]
    answers = [name for name in schemas if name.endswith(("Out", "Page", "Item"))]
    missing = {
        f"{name}.{field}"
        for name in answers
        for field in schemas[name].get("properties", ())
        if field not in said
    }
    assert not missing


@pytest.mark.parametrize("name", ["events.md", "zh/events.md"])
def test_every_kind_of_event_is_documented_with_its_fields(name: str) -> None:
    table = {words(row[0])[0]: set(words(row[2])) for row in rows(text_of(name)) if words(row[0])}
    assert {*EventKind, "hello", "reset", "log", "attempt", "end"} == table.keys()
    row = MagicMock(logical_time=0, start_time=0, end_time=0, next_fire=0, task_name="")
    assert set(execution_event(row)) <= table["execution"]
    assert set(task_event(row)) <= table["task"]


def test_every_reason_of_explain_is_documented_and_no_other() -> None:
    documented = set(column(section(text_of("rest.md"), "### Explain")))
    waiting = set(first_column_of_table_with("states.md", "slot")) - {"waiting_for"}
    known = codes_said("engine", only="explain.py") | {f"waiting_for_{word}" for word in waiting}
    assert documented - {"code"} == known | {"skipped_REASON"}


@pytest.mark.parametrize("name", ["rest.md", "zh/rest.md"])
def test_every_reason_of_an_execution_is_documented_and_no_other(name: str) -> None:
    title = "### Explain an execution" if name == "rest.md" else "### 解释一个执行"
    documented = set(column(section(text_of(name), title)))
    waiting = set(first_column_of_table_with("states.md", "slot")) - {"waiting_for"}
    known = codes_said("engine", only="explain_executions.py") | {f"waiting_for_{word}" for word in waiting}
    statuses = {status.value for status in FINAL - {Status.SUCCESS, Status.SKIPPED}}
    assert documented - {"code"} == known | statuses


def fields(openapi: dict[str, Any], model: str) -> set[str]:
    return set(openapi["components"]["schemas"][model]["properties"])


@pytest.mark.parametrize(
    ("title", "model"),
    [("## A task", "TaskOut"), ("## An execution", "ExecutionOut"), ("## An attempt", "AttemptOut")],
)
def test_every_field_of_an_answer_is_documented_and_no_other(
    openapi: dict[str, Any], title: str, model: str
) -> None:
    documented = column(section(text_of("rest.md"), title))
    assert sorted(documented) == sorted(fields(openapi, model))


@pytest.mark.parametrize(("title", "model"), [("## A load error", "LoadErrorOut"), ("## Errors", "ErrorOut")])
def test_the_shape_of_errors_is_documented(openapi: dict[str, Any], title: str, model: str) -> None:
    said = words(section(text_of("rest.md"), title))
    assert fields(openapi, model) <= {name for word in said for name in re.findall(r"\w+", word)}


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────


def error_classes(base: type[errors.ZquantFlowError] = errors.ZquantFlowError) -> Iterator[type]:
    yield base
    for cls in base.__subclasses__():
        yield from error_classes(cls)


def documented_errors() -> dict[str, str]:
    return {
        code: row[1]
        for row in rows(section(text_of("errors.md"), "## Of requests"))
        for code in words(row[0])
    }


def test_every_error_of_requests_is_documented_with_its_status() -> None:
    documented = documented_errors()
    for cls in error_classes():
        assert cls.code in documented
        status = documented[cls.code]
        assert not status or str(cls.status) in status


def test_every_documented_error_of_requests_is_one() -> None:
    at_the_edge = {node for node in literals(PACKAGE / "api" / "app.py") if isinstance(node, str)}
    assert documented_errors().keys() <= {"code"} | {cls.code for cls in error_classes()} | at_the_edge


def literals(*paths: Path) -> set[Any]:
    trees = [ast.parse(path.read_text()) for path in paths]
    return {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def codes_said(*folders: str, only: str = "") -> set[str]:
    """The codes that these rooms give to faults, found where they are written. The reasons of `explain` are no faults."""
    found = set()
    for path in [path for folder in folders for path in sorted((PACKAGE / folder).glob("*.py"))]:
        if (path.name != only) if only else path.name.startswith("explain"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            found |= {code.value for code in _codes(node) if isinstance(code, ast.Constant)}
    return {code for code in found if isinstance(code, str) and re.fullmatch("[a-z]+(_[a-z]+)*", code)}


_PLACES = {
    "SpawnFailed": 0,
    "Failure": 0,
    "doom": 1,
    "_refuse_order": 1,
    "_error": 1,
    "FieldError": 2,
    "_fault": 2,
    "fail": 1,
}


def _codes(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Dict):
        yield from (value for key, value in zip(node.keys, node.values, strict=True) if _says_code(key))
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        yield from [node.value] if _says_code(node.targets[0].slice) else []
    elif isinstance(node, ast.Call):
        yield from (word.value for word in node.keywords if word.arg == "code")
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in _PLACES and len(node.args) > _PLACES[name]:
            code = node.args[_PLACES[name]]
            yield from (code.body, code.orelse) if isinstance(code, ast.IfExp) else (code,)
    elif isinstance(node, ast.Tuple) and len(node.elts) == 5 and _is_prose(node.elts[4]):
        yield node.elts[3]  # line, column, field, code, message


def _is_prose(message: ast.expr) -> bool:
    return not isinstance(message, ast.Constant) or " " in str(message.value)


def _says_code(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and key.value == "code"


ATTEMPTS = "## Of attempts and executions"
DEFINITIONS = "## Of definitions"


def test_every_code_that_the_runner_and_the_engine_give_is_documented() -> None:
    documented = {
        code for title in (ATTEMPTS, DEFINITIONS) for code in column(section(text_of("errors.md"), title))
    }
    assert codes_said("runner", "engine", "executors") <= documented


def test_every_code_of_load_errors_is_documented() -> None:
    documented = set(column(section(text_of("errors.md"), DEFINITIONS)))
    assert codes_said("definitions") <= documented


@pytest.mark.parametrize("title", [ATTEMPTS, DEFINITIONS])
def test_every_documented_code_stands_in_the_source(title: str) -> None:
    rooms = ("runner", "engine", "definitions", "core", "calendars", "executors")
    said = literals(
        PACKAGE / "errors.py", *(path for room in rooms for path in (PACKAGE / room).glob("*.py"))
    )
    assert set(column(section(text_of("errors.md"), title))) <= said


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────

STATES = pytest.mark.parametrize("name", ["states.md", "zh/states.md"])


def first_column_of_table_with(name: str, member: str) -> list[str]:
    """The first column of the table that has this word in it, and of no other table."""
    tables = re.findall(r"(?:^\|.*\n)+", text_of(name), re.MULTILINE)
    [found] = [table for table in tables if member in column(table)]
    return column(found)


@STATES
def test_the_table_of_states_is_the_table_of_legal_steps(name: str) -> None:
    documented = {
        words(row[0])[0]: set(words(row[2]))
        for row in rows(text_of(name))
        if len(row) == 3 and words(row[0]) and words(row[0])[0] in set(Status)
    }
    assert documented == {status.value: {after.value for after in LEGAL[status]} for status in Status}
    assert {status for status, after in documented.items() if not after} == {status.value for status in FINAL}


@STATES
def test_the_words_for_tasks_are_documented_in_their_order(name: str) -> None:
    title = (
        "## The word for a task: `schedule_status`"
        if name == "states.md"
        else "## 任务的状态词：`schedule_status`"
    )
    order = column(section(text_of(name), title))
    assert order == ["disabled", "paused", "running", "failed", "pending", "success", "terminated"]
    assert set(order) == set(ScheduleStatus)


@STATES
def test_every_trigger_type_is_documented_and_no_other(name: str) -> None:
    assert set(first_column_of_table_with(name, "manual")) == {"trigger_type", *TriggerType}


@STATES
def test_every_reason_of_the_ledger_is_documented_and_no_other(name: str) -> None:
    assert set(first_column_of_table_with(name, "coalesced")) == set(schedule.SkipReason)


@STATES
def test_every_reason_of_skipped_nodes_is_documented_and_no_other(name: str) -> None:
    assert set(first_column_of_table_with(name, "workflow_terminated")) == {
        "skip_reason",
        *progress.SkipReason,
    }


@STATES
@pytest.mark.parametrize("on_failure", OnFailure)
def test_the_table_of_rules_is_what_progress_decides(name: str, on_failure: OnFailure) -> None:
    runs = ("runs", "执行")
    combinations = ["ok ok", "ok bad", "bad bad", "ok skip", "bad skip", "skip skip"]
    seen = set()
    for row in rows(text_of(name)):
        rule = words(row[0])[0] if words(row[0]) else ""
        if len(row) != 7 or rule not in set(TriggerRule):
            continue
        seen.add(rule)
        for combination, cell in zip(combinations, row[1:], strict=True):
            if (rule, combination, on_failure) == ("any_success", "ok bad", OnFailure.STOP):
                continue  # the order of ends decides: the second table says so
            assert _decided(TriggerRule(rule), combination, on_failure) == cell.startswith(runs), (
                rule,
                combination,
            )
    assert seen == set(TriggerRule)


def _decided(rule: TriggerRule, combination: str, on_failure: OnFailure) -> bool:
    plan = plan_nodes(["a", "b", "c"], {"a": (), "b": (), "c": ("a", "b")})
    run = progress.Progress(
        plan,
        [TriggerRule.ALL_SUCCESS, TriggerRule.ALL_SUCCESS, rule],
        workflow_type=WorkflowType.PARALLEL,
        on_failure=on_failure,
    )
    ends = {"ok": Status.SUCCESS, "bad": Status.FAILED, "skip": Status.SKIPPED}
    run.start()
    run.began(0)
    run.began(1)
    for node, word in enumerate(combination.split()):
        run.finish(node, ends[word])
    return run.may_start(2)


# ── executors, commands, files ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["plugins.md", "zh/plugins.md"])
def test_every_hook_is_documented_and_no_other(name: str) -> None:
    hooks = {key for key, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")}
    assert hooks
    documented = first_column_of_table_with(name, "register_executors")
    assert set(documented) == hooks


@pytest.mark.parametrize("name", ["notifications.md", "zh/notifications.md"])
@pytest.mark.parametrize("kind", [None, "webhook", "email", "apprise"])
def test_every_word_of_a_channel_is_documented_and_no_other(name: str, kind: str | None) -> None:
    whole = "## Channels" if name == "notifications.md" else "## 渠道"
    text = section(text_of(name), whole if kind is None else f"### {kind}")
    if kind is None:
        text = text.partition("### ")[0]
    model = Channel if kind is None else built_in().notifiers[kind].Config
    fields = {field.alias or key for key, field in model.model_fields.items()}
    if kind == "apprise":  # in words, not in a table
        assert fields <= set(words(text))
    else:
        documented = set(column(text)) | ({"password", "password_env"} if kind == "email" else set())
        assert documented == fields


@pytest.mark.parametrize("name", ["notifications.md", "zh/notifications.md"])
def test_every_notice_and_every_fact_of_a_message_is_documented(name: str) -> None:
    table = [
        words(row[0])[0] for row in rows(text_of(name)) if words(row[0]) and words(row[0])[0] in list(Notice)
    ]
    assert table == list(Notice)
    assert set(FACTS) <= set(words(text_of(name)))


IN_CONFIG = {
    name: cls for name, cls in built_in().configs.items() if name not in ("command", "python", "example")
}


@pytest.mark.parametrize("name", ["executors.md", "zh/executors.md"])
@pytest.mark.parametrize("executor", IN_CONFIG)
def test_every_field_of_a_config_is_documented_with_its_default_and_no_other(
    name: str, executor: str
) -> None:
    table = [row for row in rows(section(text_of(name), f"## {executor}")) if len(row) == 4 and words(row[0])]
    fields = {field.alias or key: field for key, field in IN_CONFIG[executor].model_fields.items()}
    assert [words(row[0])[0] for row in table] == list(fields)
    for row, field in zip(table, fields.values(), strict=True):
        if said := words(row[2]):
            assert json.loads(said[0]) == field.default


@pytest.mark.parametrize("name", ["executors.md", "zh/executors.md"])
def test_every_built_in_executor_has_its_chapter(name: str) -> None:
    chapters = set(re.findall(r"^## (\w+)$", text_of(name), re.M))
    assert set(built_in().configs) <= chapters


def commands() -> dict[str, Any]:
    return dict(typer.main.get_command(command_line).commands)  # type: ignore[attr-defined]


def flags_of(command: str) -> set[str]:
    options = [flag for parameter in commands()[command].params for flag in parameter.opts]
    return {flag for flag in options if flag.startswith("-") and flag not in ("-h", "--help")}


def test_every_command_has_its_chapter_and_no_other() -> None:
    chapters = re.findall(r"^## ([a-z]+)$", text_of("command-line.md"), re.M)
    assert sorted(chapters) == sorted(commands())


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_flag_of_a_command_is_documented_and_no_other(command: str) -> None:
    cells = column(section(text_of("command-line.md"), f"## {command}"))
    documented = {word.split()[0] for word in cells if word.startswith("-")}
    assert documented == flags_of(command)


@pytest.mark.parametrize("name", ["files.md", "zh/files.md"])
@pytest.mark.parametrize(
    ("english", "chinese", "form"),
    [("## Keys of a task", "## 任务的键", TaskForm), ("## Keys of a node", "## 节点的键", NodeForm)],
)
def test_every_key_of_files_is_documented_and_no_other(
    name: str, english: str, chinese: str, form: type[BaseModel]
) -> None:
    documented = set(column(section(text_of(name), english if name == "files.md" else chinese)))
    keys = set(form.model_fields)
    if form is NodeForm:  # of its action's keys the text says that they are those of a task
        keys = keys - set(TaskForm.model_fields) | (documented & keys)
        keys -= {"task_id"}  # for REST alone: ids differ between installations
    assert documented == keys


# ── every page ───────────────────────────────────────────────────────────────────────────────────────────────────


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def plugins_of(page: Path, folder: Path) -> Plugins:
    """The plugin files and packages that a page shows, beside the built-ins; what is neither is left out."""
    for text in fenced(page, "python"):
        if named := re.match(r"# (?:plugins/(\w+)|(\w+)/__init__)\.py\n", text):
            (folder / f"{named[1] or named[2]}.py").write_text(text)
    return installed(Sources(folder=folder, entry_points=False))


@every_page
def test_every_plugin_in_python_loads_as_it_stands(page: Path, tmp_path: Path) -> None:
    for plugin in plugins_of(page, tmp_path).known:
        assert plugin.error is None


@every_page
def test_every_task_in_yaml_loads_as_it_stands(page: Path, tmp_path: Path) -> None:
    configs = plugins_of(page, tmp_path).configs
    for text in fenced(page, "yaml"):
        for document in read_yaml(text.encode()):
            if isinstance(document.value, dict) and "name" in document.value:
                parse_definition(document.value, origin="file", executors=configs)


@every_page
def test_every_piece_of_python_that_imports_us_compiles(page: Path) -> None:
    for text in fenced(page, "python"):
        if "from zquant_flow" in text:
            compile(text, str(page), "exec", dont_inherit=True)


@every_page
def test_every_name_that_python_imports_from_us_exists(page: Path) -> None:
    for text in fenced(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zquant_flow"):
                assert all(hasattr(import_module(str(node.module)), alias.name) for alias in node.names)


@every_page
def test_no_page_names_a_path_of_somebodys_machine(page: Path) -> None:
    assert not re.findall(r"(?<![\w.])/(?:work|home|root|Users|mnt)/\S*", page.read_text(encoding="utf-8"))


def test_the_index_has_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)]+\.md)\)", text_of("README.md")))
    assert linked == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", sorted(CHINESE.glob("*.md")), ids=lambda page: page.name)
def test_a_chinese_page_has_the_tables_and_examples_of_the_english_one(page: Path) -> None:
    def shape(path: Path) -> list[tuple[int, tuple[str, ...]]]:
        """Of each row its length, and what is in code letters in its first cell, placeholders left out."""
        return [
            (
                len(row),
                tuple(w for w in re.findall(r"`([!-~]+)`", row[0]) if "<" not in w and "NAME" not in w),
            )
            for row in rows(path.read_text(encoding="utf-8"))
        ]

    english = DOCS / page.name
    assert shape(page) == shape(english)
    for language in ("yaml", "toml", "sh"):
        assert len(fenced(english, language)) == len(fenced(page, language))


def test_the_documented_executor_works_by_hand() -> None:
    (text,) = [text for text in fenced(DOCS / "executors.md", "python") if "import Config, Executor" in text]
    shown: dict[str, Any] = {}
    exec(compile(text, "executors.md", "exec", dont_inherit=True), shown)
    copy = shown["Copy"]
    assert copy().run(Context({}), copy.Config(source="x", rows=2)) == {"rows": 2}
