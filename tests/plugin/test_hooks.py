"""Each hook that adds something, from the file of a plugin to what users see of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from zquant_flow.api.app import create_app
from zquant_flow.api.control import Control
from zquant_flow.api.plugged import include_routers
from zquant_flow.calendars.provider import Calendars
from zquant_flow.cli import group
from zquant_flow.cli.app import app as command_line
from zquant_flow.config import load_settings
from zquant_flow.core.model import At, Edge, Rule, Schedule
from zquant_flow.core.schedule import Times
from zquant_flow.engine.ahead import backend_of
from zquant_flow.engine.assembly import assemble
from zquant_flow.errors import BadRequest
from zquant_flow.executors.context import Context
from zquant_flow.executors.failure import Failure
from zquant_flow.executors.installed import installed
from zquant_flow.logs import log_path
from zquant_flow.plugin.namespace import PACKAGE
from zquant_flow.plugin.sources import Sources
from zquant_flow.runner import secrets
from zquant_flow.testing import Harness, command_task

Write = Callable[[str], Sources]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a plugin file; the sources to load it from."""
    import sys

    path, modules = list(sys.path), set(sys.modules)
    (tmp_path / "plugins").mkdir()

    def written(text: str) -> Sources:
        (tmp_path / "plugins" / "mine.py").write_text(f"from zquant_flow.plugin import *\n{text}")
        return Sources(folder=tmp_path / "plugins", entry_points=False)

    yield written
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(PACKAGE):
            del sys.modules[name]


# Calendars and schedules

CALENDAR = """
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")

def days(first, last):
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]

def sundays(first, last):
    for day in days(first, last):
        if day.weekday() == 6:
            yield Session(day, datetime.combine(day, time(10), ZONE), datetime.combine(day, time(12), ZONE))

def twice(first, last):
    for day in days(first, last):
        yield datetime.combine(day, time(9), ZONE)
        yield datetime.combine(day, time(21), ZONE)

def backwards(first, last):
    return list(twice(first, last))[::-1]

@hookimpl
def register_calendars():
    print("what a plugin prints disturbs nobody")
    return {"SUNDAYS": Calendar(timezone="Asia/Shanghai", sessions=sundays, until=date(2027, 1, 31))}

@hookimpl
def register_schedules():
    return {
        "TIDES": Schedule(timezone="Asia/Shanghai", instants=twice),
        "WRONG": Schedule(timezone="Asia/Shanghai", instants=backwards),
    }
"""
AFTER = datetime(2026, 3, 2, tzinfo=UTC)


def fires(calendars: Calendars, name: str, count: int) -> list[str]:
    rule = Rule(at=At(edge=Edge.OPEN), calendar=name)
    table = Times(zone=ZoneInfo("UTC"), calendars=calendars.known).table(Schedule(rules=(rule,)), AFTER)
    found, at = [], AFTER
    for _ in range(count):
        following = table.next(at)
        assert following is not None
        found.append(following.isoformat())
        at = following
    return found


def test_calendars_and_schedules_of_plugins_are_followed(tmp_path: Path, write: Write) -> None:
    sources = write(CALENDAR)
    calendars = Calendars(tmp_path / "data", tmp_path / "calendars", plugins=lambda: sources)
    calendars.ensure(["SUNDAYS", "TIDES", "WRONG", "NOWHERE"])
    assert fires(calendars, "SUNDAYS", 2) == ["2026-03-08T02:00:00+00:00", "2026-03-15T02:00:00+00:00"]
    assert fires(calendars, "TIDES", 3) == [
        "2026-03-02T01:00:00+00:00",
        "2026-03-02T13:00:00+00:00",
        "2026-03-03T01:00:00+00:00",
    ]
    assert date.fromordinal(calendars.known["SUNDAYS"].last) == date(2027, 1, 31)
    assert not calendars.known["SUNDAYS"].unbounded
    assert "what it gives is not in order" in calendars.faults["WRONG"].message
    assert "NOWHERE" in calendars.faults


def test_an_edited_plugin_makes_its_calendars_anew(tmp_path: Path, write: Write) -> None:
    now = [write(CALENDAR)]
    calendars = Calendars(tmp_path / "data", tmp_path / "calendars", plugins=lambda: now[0])
    calendars.ensure(["TIDES"])
    other = tmp_path / "other"
    (tmp_path / "plugins").rename(other)
    (other / "mine.py").write_text((other / "mine.py").read_text().replace("time(9)", "time(11)"))
    now[0] = Sources(folder=other, entry_points=False)
    assert calendars.look()
    assert fires(calendars, "TIDES", 1) == ["2026-03-02T03:00:00+00:00"]


# Routers and panels

PAGES = """
from fastapi import APIRouter

router = APIRouter()

@router.get("/hello")
def hello():
    return {"hello": "world"}

@hookimpl
def register_routers():
    return [router]

@hookimpl
def register_panels():
    blocks = lambda: [
        {"type": "stat", "title": "rows", "value": 7},
        {"type": "table", "columns": ["a"], "rows": [["x"]]},
        {"type": "link", "text": "here", "url": "/tasks/1"},
    ]
    return [
        Panel(name="good", title="Rows", blocks=blocks),
        Panel(name="bad", title="Bad", blocks=lambda: [{"type": "link", "text": "x", "url": "javascript:alert(1)"}]),
    ]
"""


@pytest.fixture
def api(tmp_path: Path, write: Write) -> Iterator[TestClient]:
    write(PAGES)
    settings = load_settings(
        tasks_dir=tmp_path / "tasks", data_dir=tmp_path / "data", plugins_dir=tmp_path / "plugins"
    )
    made = assemble(settings)
    control = Control(
        engine=made.engine,
        operations=made.operations,
        authored=made.authored,
        plugged=made.plugged,
        folder=made.folder,
        database=made.database,
        data_dir=settings.data_dir,
        zone=settings.zone,
        token="secret-token",
    )
    made.start_api()
    app: FastAPI = create_app(control)
    include_routers(app, made.plugged.current)
    with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 50000)) as client:
        yield client
    made.stop()


HEADERS = {"Authorization": "Bearer secret-token"}


def test_a_router_is_mounted_below_the_name_of_its_plugin_and_behind_the_sign_in(api: TestClient) -> None:
    assert api.get("/api/v1/plugins/mine/hello").status_code == 401
    assert api.get("/api/v1/plugins/mine/hello", headers=HEADERS).json() == {"hello": "world"}


def test_a_panel_gives_blocks_and_what_is_none_is_an_error_with_its_name(api: TestClient) -> None:
    root = "/api/v1/scheduler/panels"
    listed = api.get(root, headers=HEADERS).json()["panels"]
    assert [(panel["plugin"], panel["name"], panel["title"]) for panel in listed] == [
        ("mine", "good", "Rows"),
        ("mine", "bad", "Bad"),
    ]
    blocks = api.get(f"{root}/mine/good", headers=HEADERS).json()["blocks"]
    assert [block["type"] for block in blocks] == ["stat", "table", "link"]
    bad = api.get(f"{root}/mine/bad", headers=HEADERS)
    assert (bad.status_code, bad.json()["code"]) == (503, "plugin_failed")
    assert "panel 'bad' of plugin 'mine' failed" in bad.json()["detail"]
    assert api.get(f"{root}/mine/none", headers=HEADERS).status_code == 404


# Commands


def test_a_command_is_one_of_ours_and_ours_stay_ours(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        """
import typer

greet, serve = typer.Typer(name="greet", help="Greets."), typer.Typer(name="serve")

@greet.command()
def hello(who: str = "world"):
    print(f"hello {who}")

@serve.command()
def mine():
    print("not ours")

@hookimpl
def register_commands():
    return [greet, serve]
"""
    )
    monkeypatch.chdir(tmp_path)
    group._of_plugins.cache_clear()
    run = CliRunner().invoke
    assert run(command_line, ["greet", "--who", "you"]).output == "hello you\n"
    assert "greet" in run(command_line, ["--help"]).output
    assert "not ours" not in run(command_line, ["serve", "--help"]).output
    assert run(command_line, ["nothing"]).exit_code == 2
    group._of_plugins.cache_clear()


# Backends, log sinks, secrets


def test_a_backend_is_chosen_by_its_name(tmp_path: Path, write: Write) -> None:
    sources = write(
        "@hookimpl\ndef register_backends():\n    return {'moon': lambda settings: settings.data_dir}"
    )
    settings = load_settings(data_dir=tmp_path / "data", backend="moon")
    assert backend_of(settings, sources) == tmp_path / "data"
    with pytest.raises(BadRequest, match="there is no backend 'mars': known are local, moon"):
        backend_of(load_settings(backend="mars"), sources)


def test_a_log_sink_gets_the_log_of_each_attempt(tmp_path: Path, write: Write) -> None:
    taken = tmp_path / "taken"
    sources = write(
        f"""
def keep(end, path):
    with open({str(taken)!r}, "a") as file:
        file.write(f"{{end.outcome}} {{path.read_text()}}")

@hookimpl
def register_log_sinks():
    return [keep]
"""
    )
    with Harness(tmp_path) as h:
        h.engine.observing.use(installed(sources))
        (task_id,) = h.define(command_task("a"))
        number = h.operations.trigger(task_id, actor="me")
        log = Path(log_path(str(tmp_path / "data"), number, 1))
        log.parent.mkdir(parents=True)
        log.write_text("said")
        h.end(number)
    assert taken.read_text() == "success said"


def test_a_secret_comes_from_the_first_backend_that_has_it_then_from_the_environment(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = write("@hookimpl\ndef register_secret_backends():\n    return [{'a': 'from the vault'}.get]")
    (tmp_path / secrets.SOURCES_FILE).write_text(json.dumps(sources.to_json()))
    monkeypatch.setenv(secrets.RUNNER_MARK, str(tmp_path))
    monkeypatch.setenv("ZQF_SECRET_DB_PASSWORD", "from outside")
    context = Context({}, find_secret=secrets.find_secret)
    assert context.secret("a") == "from the vault"
    assert context.secret("db-password") == "from outside"
    with pytest.raises(
        Failure, match="there is no secret 'b': no plugin has it, and ZQF_SECRET_B is not set"
    ):
        context.secret("b")


def test_workers_are_told_where_secrets_are_only_where_somebody_keeps_them(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    from zquant_flow.engine.plugged import Plugged

    sources = write("@hookimpl\ndef register_secret_backends():\n    return []")
    data = tmp_path / "data"
    data.mkdir()
    plugged = Plugged(sources, folder=tmp_path / "plugins", data_dir=data)
    plugged.tell_workers()
    assert Sources.from_json(json.loads((data / secrets.SOURCES_FILE).read_text())) == sources
    write("")
    with caplog.at_level(logging.INFO):
        plugged.look()
    assert not (data / secrets.SOURCES_FILE).exists()
