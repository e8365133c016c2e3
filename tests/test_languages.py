"""Messages in English and Chinese: every text is translated, and whoever asks is answered in their language."""

from __future__ import annotations

import ast
import copy
import json
import os
import pickle
import string
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.messages import PACKAGE, compiled, extracted, written
from zquant_flow import wording
from zquant_flow.api.app import PREFIX, create_app
from zquant_flow.api.executions import ExecutionQuery
from zquant_flow.api.languages import preferred
from zquant_flow.api.security import signed_in
from zquant_flow.api.validation import faults
from zquant_flow.core.status import Status
from zquant_flow.definitions.faults import DefinitionErrors, FieldError
from zquant_flow.definitions.loader import Loader, LoadError
from zquant_flow.definitions.registry import Registry
from zquant_flow.environment import terminal_language
from zquant_flow.executors.installed import built_in
from zquant_flow.wording import Language, Message, joined, packed, restored, say, spoken, translated, unpacked

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def names_in(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def words_of(template: str) -> str:
    """The template without what is filled in."""
    return "".join(words for words, *_ in string.Formatter().parse(template))


# The catalogue


def test_every_text_of_the_sources_has_a_chinese_translation() -> None:
    translations = written()
    assert sorted(text for text in extracted() if not translations.get(text)) == []


def test_the_catalogue_has_nothing_that_the_sources_no_longer_say() -> None:
    assert sorted(written().keys() - extracted()) == []


def test_translations_fill_in_the_same_values() -> None:
    differing = {
        text: translation
        for text, translation in written().items()
        if translation and "{" in text and names_in(text) != names_in(translation)
    }
    assert differing == {}


def test_the_compiled_catalogue_is_the_written_one() -> None:
    assert compiled() == {text: translation for text, translation in written().items() if translation}


def test_translations_have_chinese_in_them_where_there_are_words() -> None:
    plain = {
        text: translation
        for text, translation in written().items()
        if translation and translation.isascii() and any(map(str.isalpha, words_of(text)))
    }
    assert plain == {}


# Whatever a user reads is said, and nothing is put together by hand


TREES = {path: ast.parse(path.read_text()) for path in MODULES}
TEXT_AT = {
    "FieldError": 1,
    "_fault": 1,
    "_nothing_to_run": 1,
    "_drop": 2,
    "_refuse": 0,
    "LoadError": "message",
}
"""Where these take the text that a user reads."""


def error_classes() -> set[str]:
    """Our exceptions, whose first argument a user reads."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"ZquantFlowError", "YamlError", "AuthoringError", "Refused"}
    for _ in bases:
        found |= {name for name, of in bases.items() if of & found}
    return found - {"DefinitionErrors"}


ERRORS = error_classes()


def texts_of(call: ast.Call, path: Path) -> list[ast.expr]:
    """The arguments of a call that a user reads."""
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    place: int | str | None = 0 if name in ERRORS else TEXT_AT.get(name)
    if name == "ValueError" and path.parent.name == "definitions":
        place = 0
    if isinstance(place, str):
        return [keyword.value for keyword in call.keywords if keyword.arg == place]
    return [] if place is None else call.args[place : place + 1]


def unspoken_in(function: ast.AST, path: Path) -> Iterator[str]:
    """The places where an error is made of a text that nobody can translate; a name stands for what it was given."""
    given: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(function):
        for text in texts_of(node, path) if isinstance(node, ast.Call) else ():
            for value in given.get(text.id, []) if isinstance(text, ast.Name) else [text]:
                if any(map(is_plain_text, parts_of(value))):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(value):.60}"


def parts_of(value: ast.expr) -> list[ast.expr]:
    if isinstance(value, ast.IfExp):
        return [*parts_of(value.body), *parts_of(value.orelse)]
    if isinstance(value, ast.BoolOp):
        return [part for item in value.values for part in parts_of(item)]
    return [value]


def is_plain_text(value: ast.expr) -> bool:
    """Is this put together by hand, or a literal of several words?"""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str) and " " in value.value
    return isinstance(value, (ast.JoinedStr, ast.BinOp))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_errors_are_said_in_words_that_can_be_translated(path: Path) -> None:
    functions = [node for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef)]
    assert sorted({place for function in functions for place in unspoken_in(function, path)}) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_said_is_a_literal(path: Path) -> None:
    computed = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("say", "joined", "t")
        and not (node.args and isinstance(node.args[0], ast.Constant))
    ]
    assert computed == [] or path.name in ("wording.py", "language.py")


# A message


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A catalogue of these words only."""
    words = {
        "no task has the id {id}": "没有 id 为 {id} 的任务",
        "{name!r} is wrong{hint}": "{name!r} 有误{hint}",
        " (did you mean {word!r}?)": "(是否想写 {word!r}?)",
        "; ": "；",
        "broken {name}": "{nome} 坏了",
        "braces {stay}": "花括号 {stay} 不变",
    }
    monkeypatch.setattr(wording, "_catalogue", lambda language: lambda text: words.get(text, text))
    return words


def test_a_message_is_its_english_text() -> None:
    message = say("no task has the id {id}", id=7)
    assert message == "no task has the id 7"
    assert json.loads(json.dumps({"detail": message})) == {"detail": "no task has the id 7"}
    assert (message.template, message.values) == ("no task has the id {id}", {"id": 7})


def test_a_message_is_translated_with_its_values(chinese: dict[str, str]) -> None:
    assert translated(say("no task has the id {id}", id=7), "zh") == "没有 id 为 7 的任务"
    assert translated(say("no task has the id {id}", id=7), "en") == "no task has the id 7"
    assert type(translated(say("no task has the id {id}", id=7), "en")) is str


def test_messages_inside_messages_are_translated_too(chinese: dict[str, str]) -> None:
    hint = say(" (did you mean {word!r}?)", word="cron")
    message = say("{name!r} is wrong{hint}", name="corn", hint=hint)
    assert message == "'corn' is wrong (did you mean 'cron'?)"
    assert translated(message, "zh") == "'corn' 有误(是否想写 'cron'?)"


def test_joined_messages_stay_translatable(chinese: dict[str, str]) -> None:
    message = joined("; ", [say("no task has the id {id}", id=7), "plain {text}"])
    assert message == "no task has the id 7; plain {text}"
    assert translated(message, "zh") == "没有 id 为 7 的任务；plain {text}"


def test_braces_are_text_where_there_are_no_values(chinese: dict[str, str]) -> None:
    assert say("braces {stay}") == "braces {stay}"
    assert translated(say("braces {stay}"), "zh") == "花括号 {stay} 不变"


def test_a_broken_translation_falls_back_to_english(chinese: dict[str, str]) -> None:
    assert translated(say("broken {name}", name="x"), "zh") == "broken x"


def test_text_without_a_translation_stays_as_it_is(chinese: dict[str, str]) -> None:
    assert translated("plain", "zh") == "plain"
    assert translated(say("nobody has translated {this}", this="this"), "zh") == "nobody has translated this"
    assert translated(say(""), "zh") == ""


MESSAGE = joined("; ", [say("{a!r} and {b}", a="x\n\ud800", b=say("{n:,}", n=12_345)), "plain", say("{x}")])


def test_messages_survive_pickling_and_copying() -> None:
    for again in (pickle.loads(pickle.dumps(MESSAGE)), copy.deepcopy(MESSAGE), copy.copy(MESSAGE)):
        assert isinstance(again, Message)
        assert (again, again.template, again.values) == (MESSAGE, MESSAGE.template, MESSAGE.values)


def test_a_packed_message_is_the_same_when_it_is_unpacked() -> None:
    text = packed(MESSAGE)
    assert text is not None and text.isascii()
    again = unpacked(text)
    assert (again, packed(again)) == (MESSAGE, text)


def test_a_message_that_can_not_be_read_any_more_is_its_english_text() -> None:
    assert isinstance(restored("; ", packed(say("; "))), Message)
    assert restored("plain", None) == restored("plain", "{nonsense") == restored("plain", "[1]") == "plain"


def test_plain_text_is_not_packed() -> None:
    assert packed("plain") is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "7", '["a"]', '["a", 7]', '["{x}", {"y": 1}]', '["a", {"x": {}}]']
)
def test_what_was_not_packed_is_not_unpacked(text: str) -> None:
    with pytest.raises(ValueError):
        unpacked(text)


def test_a_missing_catalogue_is_logged_and_leaves_english(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wording, "CATALOGUES", tmp_path)
    wording._catalogue.cache_clear()
    try:
        assert translated(say("no task has the id {id}", id=7), "zh") == "no task has the id 7"
    finally:
        wording._catalogue.cache_clear()
    assert [record.action for record in caplog.records] == ["catalogue_unreadable"]  # type: ignore[attr-defined]


def test_what_an_exception_says_stays_a_message() -> None:
    message = say("no task has the id {id}", id=7)
    assert spoken(ValueError(message)) is message
    assert spoken(ValueError("plain")) == "plain"
    assert spoken(OSError(2, "gone")) == "[Errno 2] gone"


def test_the_faults_of_a_definition_are_one_message() -> None:
    faults = DefinitionErrors([FieldError(("tasks", 0), say("first")), FieldError((), say("second"))])
    assert faults.detail == "tasks.0: first; second"
    assert isinstance(faults.detail, Message)


# From the loader


def load_errors(folder: Path, text: str, name: str = "a.yaml") -> list[str]:
    (folder / name).write_text(text)
    loader = Loader(folder)
    try:
        [file] = loader.load([name])
    finally:
        loader.stop()
    return [error.message for error in file.errors]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "name: a\ncommand: x\ncorn: '* * * * *'\n"),
        ("b.yaml", "name: a\ncommand: x\ncron: '61 * * * *'\n"),
        ("c.yaml", "name: a\nname: b\n"),
        ("d.yaml", "name: a\npython: gone:run\n"),
        ("e.py", "from zquant_flow import task\n\n@task(timeout='x')\ndef a(): ...\n"),
        ("f.py", "import zquant_flow, nonsense_that_is_nowhere\n"),
    ],
)
def test_load_errors_can_be_translated_after_they_have_crossed(tmp_path: Path, name: str, text: str) -> None:
    [message] = load_errors(tmp_path, text, name)
    assert isinstance(message, Message)
    assert message.template


# Over REST


@pytest.mark.parametrize(
    ("asked", "default", "language"),
    [
        ("", "en", "en"),
        ("", "zh", "zh"),
        ("zh-CN,zh;q=0.9", "en", "zh"),
        ("zh-TW", "en", "zh"),
        ("ZH-cn", "en", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "zh", "en"),
        ("en;q=0.8, zh;q=0.9", "en", "zh"),
        ("zh;q=0.5,en", "zh", "en"),
        ("zh,en", "en", "zh"),
        ("en,zh", "zh", "en"),
        ("zh;q=0.9,zh-TW;q=0.1,en;q=0.5", "en", "zh"),
        ("fr,de;q=0.9", "en", "en"),
        ("fr,de;q=0.9", "zh", "zh"),
        ("fr,zh;q=0.1", "en", "zh"),
        ("*", "zh", "zh"),
        ("*;q=0.5,en;q=0.1", "en", "zh"),
        ("zh;q=0,*", "zh", "en"),
        ("zh;q=0", "en", "en"),
        ("zh;q=2", "en", "en"),
        ("zh;q=nonsense,en;q=0.1", "zh", "en"),
        (";;q=,,=;", "en", "en"),
        ("zh ; q=1.000", "en", "zh"),
    ],
)
def test_the_language_is_the_one_that_accept_language_prefers(
    asked: str, default: Language, language: Language
) -> None:
    assert preferred(asked, default) == language


class Stub:
    """A control with nothing below: enough for what is refused before any work."""

    locale: Language = "en"
    plugged = SimpleNamespace(current=built_in())

    @property
    def registry(self) -> Registry:
        error = LoadError(line=1, column=2, field="cron", code="x", message=say("the command is empty"))
        return Registry(errors={"a.yaml": (error,)})


@pytest.fixture
def stub() -> Stub:
    return Stub()


def application(stub: Stub) -> FastAPI:
    app = create_app(stub)  # type: ignore[arg-type]
    app.dependency_overrides[signed_in] = lambda: "admin"
    return app


@pytest.fixture
def client(stub: Stub) -> TestClient:
    return TestClient(application(stub))


CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9"}


def test_errors_are_english_where_nothing_else_is_asked_for(client: TestClient) -> None:
    answer = client.get(f"{PREFIX}/executors/nope/schema")
    assert answer.json() == {"code": "not_found", "detail": "no executor is named 'nope'"}
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == ("en", "Accept-Language")


def test_errors_are_chinese_where_it_is_asked_for(client: TestClient) -> None:
    answer = client.get(f"{PREFIX}/executors/nope/schema", headers=CHINESE)
    assert answer.json() == {"code": "not_found", "detail": "没有名为 'nope' 的执行器"}
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == ("zh", "Accept-Language")


def test_errors_are_in_the_language_of_the_setting(client: TestClient, stub: Stub) -> None:
    stub.locale = "zh"
    assert client.get(f"{PREFIX}/executors/nope/schema").headers["Content-Language"] == "zh"
    english = client.get(f"{PREFIX}/executors/nope/schema", headers={"Accept-Language": "en"})
    assert english.json()["detail"] == "no executor is named 'nope'"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{PREFIX}/tasks/x", 422),
        ("GET", f"{PREFIX}/tasks?limit=0", 422),
        ("GET", f"{PREFIX}/nowhere", 404),
        ("PATCH", f"{PREFIX}/load-errors", 405),
        ("POST", f"{PREFIX}/tasks", 422),
        ("GET", f"{PREFIX}/tasks", 500),
        ("GET", "/healthz", 401),
    ],
)
def test_every_kind_of_error_is_translated(stub: Stub, method: str, path: str, status: int) -> None:
    client = TestClient(application(stub), raise_server_exceptions=False, client=("192.0.2.1", 1))
    answer = client.request(method, path, headers=CHINESE)
    assert (answer.status_code, answer.headers["Content-Language"]) == (status, "zh")
    body = answer.json()
    texts = [body["detail"], *(error["message"] for error in body.get("errors", []))]
    assert [text for text in texts if text.isascii()] == []


def test_an_error_without_a_token_keeps_its_header(stub: Stub) -> None:
    client = TestClient(create_app(stub))  # type: ignore[arg-type]
    answer = client.get(f"{PREFIX}/load-errors", headers=CHINESE)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "令牌" in answer.json()["detail"]


def test_a_body_that_is_too_large_is_refused_in_the_language_of_the_request(client: TestClient) -> None:
    answer = client.post(f"{PREFIX}/tasks", headers={**CHINESE, "Content-Length": "99999999"})
    assert (answer.status_code, answer.json()["detail"]) == (413, "请求体超过 4194304 字节")


def test_load_errors_are_translated(client: TestClient) -> None:
    answer = client.get(f"{PREFIX}/load-errors", headers=CHINESE)
    assert answer.json()["load_errors"][0]["message"] == "命令为空"
    assert answer.headers["Content-Language"] == "zh"
    assert client.get(f"{PREFIX}/load-errors").json()["load_errors"][0]["message"] == "the command is empty"


class Shaped(BaseModel):
    model_config = ConfigDict(extra="forbid")

    needed: int
    count: Annotated[int, Field(ge=1, le=9)] = 1
    weight: Annotated[float, Field(gt=0, lt=1)] = 0.5
    name: Annotated[str, Field(min_length=2, max_length=3, pattern="^a")] = "aa"
    items: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    choice: Literal["x", "y"] = "x"
    status: Status = Status.PENDING
    at: datetime | None = None
    on: bool = False
    part: dict[str, int] | None = None
    params: ExecutionQuery | None = None


def complaints(words: dict[str, object]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Shaped.model_validate({"needed": 1, **words})
    found = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]
    return {fault["field"]: fault["message"] for fault in faults(found)}


@pytest.mark.parametrize(
    ("words", "field", "english", "chinese"),
    [
        ({"needed": None}, "needed", "'needed' must be a whole number", "'needed' 应为：整数"),
        ({"needed": "x"}, "needed", "'needed' must be a whole number", "'needed' 应为：整数"),
        ({"needed": 1.5}, "needed", "'needed' must be a whole number", "'needed' 应为：整数"),
        ({"needed": "9" * 5000}, "needed", "'needed' has too many digits", "'needed' 位数过多"),
        ({"count": 0}, "count", "'count' must be at least 1", "'count' 不能小于 1"),
        ({"count": 10}, "count", "'count' must be at most 9", "'count' 不能大于 9"),
        ({"weight": 0}, "weight", "'weight' must be more than 0.0", "'weight' 必须大于 0.0"),
        ({"weight": 1}, "weight", "'weight' must be less than 1.0", "'weight' 必须小于 1.0"),
        ({"name": "a"}, "name", "'name' is too short: at least 2", "'name' 过短：至少 2"),
        ({"name": "aaaa"}, "name", "'name' is too long: at most 3", "'name' 过长：最多 3"),
        ({"name": "bb"}, "name", "'name' must match the pattern ^a", "'name' 必须匹配模式 ^a"),
        ({"name": 1}, "name", "'name' must be text: write it in quotes", "'name' 应为：文本（请加引号）"),
        ({"items": []}, "items", "'items' must not be empty", "'items' 不能为空"),
        ({"items": [1, 2, 3]}, "items", "'items' is too long: at most 2", "'items' 过长：最多 2"),
        ({"items": {}}, "items", "'items' must be a list", "'items' 应为：列表"),
        ({"choice": "z"}, "choice", "'choice' must be one of 'x', 'y'", "'choice' 必须是以下之一：'x', 'y'"),
        ({"on": "maybe"}, "on", "'on' must be true or false", "'on' 应为：true 或 false"),
        ({"part": []}, "part", "'part' must be a mapping of names to values", "'part' 应为：名称到值的映射"),
        ({"extra": 1}, "extra", "'extra' is unknown here: leave it out", "'extra' 在此处未知：请去掉"),
        (
            {"at": "yesterday"},
            "at",
            "'at' must be an instant such as 2026-01-31T18:30:00+08:00",
            "'at' 应为：时刻，例如 2026-01-31T18:30:00+08:00",
        ),
    ],
)
def test_complaints_about_a_request_are_worded_and_translated(
    words: dict[str, object], field: str, english: str, chinese: str
) -> None:
    message = complaints(words)[field]
    assert (message, translated(message, "zh")) == (english, chinese)


def test_an_unknown_complaint_is_told_in_pydantics_words() -> None:
    [fault] = faults([{"type": "odd", "loc": ("query", "x"), "msg": "Odd thing"}])
    assert fault == {"field": "x", "code": "odd", "message": "'x' is wrong: odd thing"}


# On the command line


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "fr"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "C", "LANGUAGE": "zh"}, "en"),
    ],
)
def test_the_terminal_speaks_the_language_of_its_locale(
    environment: dict[str, str], language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert terminal_language() == language


def command(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        [sys.executable, "-m", "zquant_flow", *arguments],
        cwd=folder,
        env={**kept, "PYTHONUTF8": "1", **environment},
        capture_output=True,
        text=True,
        timeout=50,
        encoding="utf-8",
    )
    return done.returncode, done.stdout, done.stderr


def test_commands_speak_chinese_in_a_chinese_terminal(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "a.yaml").write_text("name: a\ncommand: x\ncron: '61 * * * *'\n")
    code, out, _ = command(tmp_path, "validate", LANG="zh_CN.UTF-8")
    assert code == 2
    assert out == "tasks/a.yaml:3:7: cron '61 * * * *'：分 61 超出 0-59\n0 个任务，1 个错误\n"


def test_errors_of_commands_and_help_are_chinese_too(tmp_path: Path) -> None:
    code, _, errors = command(tmp_path, "validate", LANG="zh_CN.UTF-8")
    assert (code, errors.startswith("错误：目录 "), "不存在" in errors) == (2, True, True)
    assert "加载任务文件" in command(tmp_path, "--help", LANG="zh_CN.UTF-8")[1]


def test_commands_speak_english_otherwise_and_read_no_catalogue() -> None:
    code = "import zquant_flow.cli.app; print(zquant_flow.wording._catalogue.cache_info().currsize)"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
