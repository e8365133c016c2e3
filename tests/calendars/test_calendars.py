"""What exchanges publish and what local files say become sessions; the process that asks stays light."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest

from zquant_flow.calendars.provider import Calendars
from zquant_flow.core.instants import from_micros
from zquant_flow.core.model import At, Edge, Rule, Schedule
from zquant_flow.core.schedule import Times, Timetable
from zquant_flow.testing import FakeClock

NOVEMBER = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the two calendars in its cache."""
    folder = tmp_path_factory.mktemp("data")
    Calendars(folder, folder / "none", clock=FakeClock(NOVEMBER)).ensure(["XSHG", "XNYS"])
    return folder


@pytest.fixture
def calendars(kept: Path) -> Calendars:
    found = Calendars(kept, kept / "none", clock=FakeClock(NOVEMBER))
    found.remember(["XSHG", "XNYS"])
    return found


def make(tmp_path: Path, **files: str) -> Calendars:
    folder = tmp_path / "calendars"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return Calendars(tmp_path / "data", folder, clock=FakeClock(NOVEMBER))


def table(calendars: Calendars, rule: Rule) -> Timetable:
    times = Times(zone=UTC_ZONE, calendars=calendars.known)
    return times.table(Schedule(rules=(rule,)), datetime(2015, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("name", ["XSHG", "XNYS"])
def test_every_session_of_twelve_years_fires_and_no_holiday(calendars: Calendars, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas, of what the library does
        published = exchange_calendars.get_calendar(name, start="2015-01-01", end="2026-12-31").schedule
    closes = [stamp.to_pydatetime() + timedelta(minutes=30) for stamp in published["close"]]
    rule = Rule(at=At(Edge.CLOSE, timedelta(minutes=30)), calendar=name)
    begin, end = datetime(2015, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert list(table(calendars, rule).between(begin, end)) == closes
    zone = calendars.known[name].zone
    daily = Times(zone=zone, calendars=calendars.known).table(
        Schedule(rules=(Rule(cron="0 12 * * *", calendar=name),)), begin
    )
    local_end = datetime(2027, 1, 1, tzinfo=zone).astimezone(UTC) - timedelta(seconds=1)
    fires = [fire.astimezone(zone).date() for fire in daily.between(begin, local_end)]
    assert fires == [stamp.date() for stamp in published.index]


def test_a_half_day_closes_early(calendars: Calendars) -> None:
    rule = Rule(at=At(Edge.CLOSE, timedelta(minutes=30)), calendar="XNYS")
    new_york = ZoneInfo("America/New_York")
    days = list(
        table(calendars, rule).between(
            datetime(2026, 11, 24, 12, tzinfo=new_york), datetime(2026, 12, 1, tzinfo=new_york)
        )
    )
    assert [f"{fire.astimezone(new_york):%d %H:%M}" for fire in days] == [
        "24 16:30",
        "25 16:30",
        "27 13:30",
        "30 16:30",
    ]


def test_the_open_follows_summer_time(calendars: Calendars) -> None:
    rule = Rule(at=At(Edge.OPEN, timedelta(minutes=-15)), calendar="XNYS")
    fires = table(calendars, rule).between(
        datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)
    )
    assert [f"{fire:%d %H:%M}" for fire in fires] == ["06 14:15", "09 13:15"]


def test_a_published_horizon_is_an_end_and_a_rule_is_none(calendars: Calendars) -> None:
    shanghai, new_york = calendars.known["XSHG"], calendars.known["XNYS"]
    assert (date.fromordinal(shanghai.last), shanghai.unbounded) == (date(2026, 12, 31), False)
    assert (date.fromordinal(new_york.last), new_york.unbounded) == (date(2028, 12, 31), True)
    assert date.fromordinal(shanghai.first) == date(1990, 12, 3)
    assert calendars.ends_soon("XSHG") is shanghai
    assert calendars.ends_soon("XNYS") is None


def test_an_unknown_name_comes_with_the_nearest_one(tmp_path: Path) -> None:
    calendars = make(tmp_path)
    calendars.ensure(["XSGH", "SSE"])
    assert list(calendars.known) == ["SSE"]
    fault = calendars.faults["XSGH"]
    assert (fault.code, fault.message) == (
        "unknown_calendar",
        "there is no calendar 'XSGH' (did you mean 'XSHG'?)",
    )


def test_a_calendar_is_read_from_the_cache_without_a_child(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", None)
    calendars = Calendars(kept, kept / "none", clock=FakeClock(NOVEMBER))
    calendars.ensure(["XSHG"])
    assert calendars.known["XSHG"].is_session(date(2026, 11, 24).toordinal())


def test_a_missing_library_is_named_with_its_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "exchange_calendars.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    calendars = make(tmp_path, own='timezone: Asia/Shanghai\nopen: "09:00"\nclose: "18:00"\n')
    calendars.ensure(["XSHG", "own"])
    assert calendars.faults["XSHG"].code == "calendar_unavailable"
    assert "pip install 'zquant-flow[calendars]'" in calendars.faults["XSHG"].message
    assert calendars.known["own"].is_session(date(2026, 11, 24).toordinal())


def test_a_local_file_extends_what_is_published(tmp_path: Path) -> None:
    calendars = make(
        tmp_path,
        XSHG=(
            "until: 2027-03-31\n"
            "holidays: [2027-01-01, 2027-02-05..2027-02-12]\n"
            "early_closes: {2027-01-04: '11:30'}\n"
        ),
    )
    calendars.ensure_files()
    found = calendars.known["XSHG"]
    assert date.fromordinal(found.last) == date(2027, 3, 31)
    assert not found.is_session(date(2027, 1, 1).toordinal())
    assert not found.is_session(date(2027, 2, 8).toordinal())
    assert found.is_session(date(2027, 2, 15).toordinal())
    day = found.days.index(date(2027, 1, 4).toordinal())
    assert from_micros(found.opens[day]) == datetime(2027, 1, 4, 1, 30, tzinfo=UTC)
    assert from_micros(found.closes[day]) == datetime(2027, 1, 4, 3, 30, tzinfo=UTC)
    assert calendars.ends_soon("XSHG") is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("until: 2027-02-30\n", 1, "'2027-02-30' is no date"),
        ("until: 2027-03-31\nholiday: []\n", 2, "unknown key 'holiday'"),
        ("until: 2027-03-31\nholidays:\n  - 2027-02-06\n", 3, "2027-02-06 is no trading day anyway"),
        ("until: 2027-03-31\nuntil: 2027-03-31\n", 2, "stands here twice"),
        ("holidays: [2027-02-12..2027-02-08]\n", 1, "is no span"),
        ("early_closes: {2027-02-12: 25:00}\n", 1, "is no time of day"),
        ("timezone: Mars/Olympus\n", 1, "unknown time zone"),
        ("holidays: {a: b}\n", 1, "holidays is a list"),
        ("- a\n", 1, "is a mapping"),
        ("a: [\n", 2, "this is no YAML"),
        ("[" * 5000, 1, "this is no YAML"),
        ("weekdays: [mon, xyz]\n", 1, "is no weekday"),
    ],
)
def test_a_fault_of_a_local_file_has_its_place(tmp_path: Path, text: str, line: int, words: str) -> None:
    calendars = make(tmp_path, XSHG=text)
    calendars.ensure_files()
    fault = calendars.faults["XSHG"]
    assert (fault.code, fault.path, fault.line) == ("invalid_calendar", "XSHG.yaml", line)
    assert words in fault.message


def test_a_broken_edit_keeps_the_last_good_calendar_and_a_repair_is_taken(tmp_path: Path) -> None:
    calendars = make(tmp_path, XSHG="until: 2027-03-31\n")
    calendars.ensure_files()
    path = calendars.folder / "XSHG.yaml"
    before = calendars.known["XSHG"]

    def write(text: str, seconds: int) -> None:
        path.write_text(text)
        os.utime(path, (seconds, seconds))

    write("until: soon\n", 1_000)
    assert not calendars.look(), "a file that has just changed may be half written"
    assert calendars.look()
    assert calendars.known["XSHG"] is before
    assert calendars.faults["XSHG"].code == "invalid_calendar"
    write("until: 2027-04-30\n", 2_000)
    calendars.look()
    assert calendars.look()
    assert date.fromordinal(calendars.known["XSHG"].last) == date(2027, 4, 30)
    assert not calendars.faults
    path.unlink()
    assert calendars.look()
    assert date.fromordinal(calendars.known["XSHG"].last) == date(2026, 12, 31)


def test_a_calendar_that_follows_from_rules_is_looked_at_further_in_time(tmp_path: Path) -> None:
    clock = FakeClock(NOVEMBER)
    calendars = Calendars(tmp_path, tmp_path / "none", clock=clock)
    calendars.ensure(["XNYS"])
    assert not calendars.look()
    clock.advance(400 * 86400)
    assert calendars.look()
    assert date.fromordinal(calendars.known["XNYS"].last) == date(2029, 12, 31)
    assert not calendars.look()


def test_a_fifo_for_a_calendar_holds_nobody(tmp_path: Path) -> None:
    calendars = make(tmp_path)
    os.mkfifo(calendars.folder / "XSHG.yaml")
    calendars.ensure_files()
    assert "not a regular file" in calendars.faults["XSHG"].message
