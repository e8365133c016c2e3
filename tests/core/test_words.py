"""A person reads the schedule that was meant, or the expression itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from zquant_flow.core.model import Rule, Schedule
from zquant_flow.core.words import describe
from zquant_flow.errors import ScheduleError

SHANGHAI = ZoneInfo("Asia/Shanghai")


def words(language: str, **rule: object) -> str:
    return describe(Schedule(rules=(Rule(**rule),)), language=language, zone=SHANGHAI)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cron", "en", "zh"),
    [
        ("30 18 * * 1-5", "at 18:30, Monday to Friday", "每个工作日(周一至周五) 18:30"),
        ("0 9,15 * * *", "at 09:00, 15:00 every day", "每天 09:00、15:00"),
        ("@daily", "at 00:00 every day", "每天 00:00"),
        ("0 8 * * 0,3", "at 08:00 on Wednesday, Sunday", "每周三、日 08:00"),
        ("0 8 1,15 * *", "at 08:00 on days 1, 15 of every month", "每月 1、15 日 08:00"),
        ("0 8 1 * ?", "at 08:00 on day 1 of every month", "每月 1 日 08:00"),
        ("0 8 L * *", "at 08:00 on the last day of every month", "每月最后一天 08:00"),
        ("* * * * *", "every minute", "每分钟"),
        ("*/5 * * * *", "every 5 minutes", "每 5 分钟"),
        ("0 * * * *", "at minute 0 of every hour", "每小时的第 0 分钟"),
        ("15 */2 * * *", "at minute 15 of every 2 hours", "每 2 小时的第 15 分钟"),
        ("0 */6 * * *", "at 00:00, 06:00, 12:00, 18:00 every day", "每天 00:00、06:00、12:00、18:00"),
        ("*/10 * * * * *", "every 10 seconds", "每 10 秒"),
        ("0 0/5 * * * ?", "every 5 minutes", "每 5 分钟"),
    ],
)
def test_common_shapes_have_plain_words(cron: str, en: str, zh: str) -> None:
    assert (words("en", cron=cron), words("zh", cron=cron)) == (en, zh)


@pytest.mark.parametrize(
    "cron",
    [
        "*/7 * * * *",  # not seven minutes apart at the full hour
        "5-59/5 * * * *",
        "0 8 1-31 * 1-5",  # both restricted: either matches, so every day
        "0 8 1 * 0-6",
        "0 8 1 * 1",
        "0 8 */2 * 1",
        "0 8 1,L * *",
        "0 8 * * 5#3",
        "0 8 1-9 * *",
        "0 8 * 2 *",
        "30 0 8 * * *",
        "0-9 8 * * *",
    ],
)
def test_what_has_no_plain_words_is_shown_as_written(cron: str) -> None:
    assert words("en", cron=cron) == words("zh", cron=cron) == f"cron {cron}"


@pytest.mark.parametrize(
    ("seconds", "en", "zh"),
    [
        (30, "every 30 s", "每 30 秒"),
        (1.5, "every 1.5 s", "每 1.5 秒"),
        (300, "every 5 min", "每 5 分钟"),
        (5400, "every 1 h 30 min", "每 1 小时 30 分钟"),
        (86400, "every 1 d", "每 1 天"),
    ],
)
def test_intervals_are_told_in_their_largest_units(seconds: float, en: str, zh: str) -> None:
    interval = timedelta(seconds=seconds)
    assert (words("en", interval=interval), words("zh", interval=interval)) == (en, zh)


def test_an_instant_is_shown_in_the_zone_of_the_schedule() -> None:
    once = Rule(run_at=datetime(2026, 1, 1, 2, 0, tzinfo=UTC))
    assert words("en", run_at=once.run_at) == "once at 2026-01-01 10:00"
    assert words("zh", run_at=once.run_at) == "2026-01-01 10:00 执行一次"
    london = Schedule(rules=(once,), timezone="Europe/London")
    assert describe(london, language="en", zone=SHANGHAI) == "once at 2026-01-01 02:00"
    assert describe(Schedule(rules=(once,)), language="en") == "once at 2026-01-01 02:00 UTC"


def test_several_rules_and_their_bounds_are_one_sentence() -> None:
    schedule = Schedule(
        rules=(Rule(cron="0 9 * * *"), Rule(interval=timedelta(hours=1))),
        start_at=datetime(2026, 1, 1, tzinfo=UTC),
        end_at=datetime(2026, 2, 1, 0, 0, 30, tzinfo=UTC),
    )
    start, end = "2026-01-01 08:00", "2026-02-01 08:00:30"
    assert describe(schedule, language="en", zone=SHANGHAI) == (
        f"at 09:00 every day; every 1 h, from {start}, until {end}"
    )
    assert describe(schedule, language="zh", zone=SHANGHAI) == f"每天 09:00；每 1 小时，{start} 起，{end} 止"


def test_an_expression_that_cannot_be_read_has_no_words() -> None:
    with pytest.raises(ScheduleError):
        words("en", cron="nonsense")
