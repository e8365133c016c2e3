"""A file is told once it has come to rest, and once only."""

from __future__ import annotations

import pytest

from zquant_flow.engine.found_files import FileFacts
from zquant_flow.engine.settling import MISSING, MOMENT, STILL, UNTOUCHED, Settling

WALL = 10**18


def facts(size: int = 1, mtime: int = WALL, path: str = "/in/a") -> FileFacts:
    return FileFacts(path, size, mtime, mtime)


def told(settling: Settling, now: float) -> list[FileFacts]:
    ready = settling.rested(now)
    settling.told(ready)
    return ready


def look(settling: Settling, *files: FileFacts, now: float = 0.0, complete: bool = True) -> None:
    settling.found({one.path: one for one in files}, now, WALL, complete=complete)


def test_a_file_that_was_closed_is_told_a_moment_later_and_once() -> None:
    settling = Settling(None, {})
    settling.made(facts(0), 0.0)
    settling.written(facts(1), 1.0)
    assert told(settling, 100.0) == []
    settling.closed(facts(2), 100.0)
    assert settling.next_look() == 100.0 + MOMENT
    assert told(settling, 100.0) == []
    assert told(settling, 100.0 + MOMENT) == [facts(2)]
    settling.closed(facts(2), 101.0)
    look(settling, facts(2), now=102.0)
    assert (told(settling, 200.0), settling.next_look()) == ([], None)


def test_one_that_is_written_anew_is_another() -> None:
    settling = Settling(None, {"/in/a": facts(1).identity})
    settling.closed(facts(1, WALL + 1), 0.0)
    assert told(settling, 1.0) == [facts(1, WALL + 1)]


def test_one_whose_time_is_set_after_its_close_is_told_once_as_it_is_then() -> None:
    settling = Settling(None, {})
    settling.closed(facts(1, WALL), 0.0)
    settling.touched(facts(1, WALL - 5), 0.05)
    assert told(settling, MOMENT) == []
    assert told(settling, 0.05 + STILL) == [facts(1, WALL - 5)]


def test_a_file_that_a_look_has_found_has_to_stand_still() -> None:
    settling = Settling(None, {})
    look(settling, facts(1), now=0.0)
    look(settling, facts(2, WALL + 1), now=1.0)
    assert told(settling, STILL) == []
    assert told(settling, 1.0 + STILL) == [facts(2, WALL + 1)]


def test_what_stood_still_before_anybody_looked_is_told_at_once() -> None:
    settling = Settling(None, {})
    old = facts(1, WALL - 10**10)
    look(settling, old, facts(1, WALL, "/in/new"), now=0.0)
    assert told(settling, 0.0) == [old]


def test_settle_holds_for_files_that_were_closed_too() -> None:
    settling = Settling(5.0, {})
    settling.closed(facts(1), 0.0)
    assert told(settling, 4.0) == []
    settling.closed(facts(2), 4.0)
    assert told(settling, 8.0) == []
    assert told(settling, 9.0) == [facts(2)]


def test_one_that_is_made_and_never_written_to_counts_after_a_minute() -> None:
    settling = Settling(None, {})
    settling.made(facts(0), 0.0)
    assert told(settling, UNTOUCHED - 1) == []
    assert told(settling, UNTOUCHED) == [facts(0)]


@pytest.mark.parametrize("by", ["event", "look"])
def test_one_that_is_gone_before_it_rests_is_not_told(by: str) -> None:
    settling = Settling(None, {})
    settling.closed(facts(), 0.0)
    if by == "event":
        settling.gone("/in/a")
    else:
        look(settling, now=0.0)
    assert told(settling, 100.0) == []


def test_when_events_were_lost_only_standing_still_counts() -> None:
    settling = Settling(None, {})
    settling.written(facts(1), 0.0)
    settling.doubt()
    look(settling, facts(1), now=1.0)
    assert told(settling, STILL) == [facts(1)]


def test_what_nobody_had_room_for_is_told_again() -> None:
    settling = Settling(None, {})
    settling.closed(facts(path="/in/b", mtime=WALL + 1), 0.0)
    settling.closed(facts(path="/in/a"), 0.0)
    ready = settling.rested(1.0)
    assert [one.path for one in ready] == ["/in/a", "/in/b"]
    settling.told(ready[:1])
    assert [one.path for one in settling.rested(1.0)] == ["/in/b"]


def test_a_file_that_comes_back_within_a_day_is_the_same_and_later_a_new_one() -> None:
    settling = Settling(None, {"/in/a": facts().identity})
    look(settling, now=0.0)
    assert settling.forgotten(MISSING - 1) == []
    look(settling, facts(), now=MISSING - 1)
    look(settling, now=MISSING)
    assert settling.forgotten(MISSING + 1) == []
    assert settling.forgotten(2 * MISSING) == ["/in/a"]
    look(settling, facts(mtime=WALL - 10**10), now=2 * MISSING)
    assert told(settling, 2 * MISSING) == [facts(mtime=WALL - 10**10)]


def test_an_incomplete_look_takes_nothing_for_gone() -> None:
    settling = Settling(None, {"/in/b": (1, 1)})
    settling.closed(facts(), 0.0)
    look(settling, complete=False)
    assert told(settling, 1.0) == [facts()]
    assert settling.forgotten(2 * MISSING) == []
