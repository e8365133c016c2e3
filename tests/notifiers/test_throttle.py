"""The same thing is told once in a while, and a storm becomes one message."""

from __future__ import annotations

from zquant_flow.notifiers.throttle import LISTED, MOST_KEYS, Sending, Throttle


def one(item: str, repeated: int = 0) -> Sending[str]:
    return Sending(items=(item,), repeated=repeated)


def test_the_same_thing_is_told_again_when_its_time_is_over_with_the_number_held_back() -> None:
    throttle = Throttle[str](every=300, per_minute=10)
    assert throttle.offer("a", "first", 0) == one("first")
    assert throttle.offer("a", "second", 10) is None
    assert throttle.offer("a", "third", 299) is None
    assert throttle.due == 300
    assert throttle.release(299) == []
    assert throttle.release(300) == [one("third", repeated=1)]
    assert throttle.due is None
    assert throttle.offer("a", "fourth", 301) is None, "the third counts, too"


def test_what_comes_after_the_time_tells_of_those_before_it() -> None:
    throttle = Throttle[str](every=300, per_minute=10)
    throttle.offer("a", "first", 0)
    throttle.offer("a", "second", 10)
    assert throttle.offer("a", "third", 400) == one("third", repeated=1)
    assert throttle.release(400) == []


def test_other_things_are_not_held_back() -> None:
    throttle = Throttle[str](every=300, per_minute=10)
    assert [throttle.offer(key, key, 0) for key in "abc"] == [one("a"), one("b"), one("c")]


def test_a_storm_is_gathered_for_a_minute_into_one_message() -> None:
    throttle = Throttle[str](every=0, per_minute=2)
    sent = [throttle.offer(number, str(number), 1.0) for number in range(5)]
    assert sent == [one("0"), one("1"), None, None, None]
    assert throttle.due == 61
    assert throttle.release(60.9) == []
    assert throttle.release(61) == [Sending(items=("2", "3", "4"), is_digest=True)]
    assert throttle.offer("x", "calm", 62) == one("calm"), "the digest is one of two in this minute"
    assert throttle.offer("y", "again", 63) is None


def test_a_digest_names_so_many_and_counts_the_rest() -> None:
    throttle = Throttle[int](every=0, per_minute=1)
    for number in range(LISTED + 8):
        throttle.offer(number, number, 0)
    [digest] = throttle.release(60)
    assert (len(digest.items), digest.more) == (LISTED, 7)


def test_at_the_end_all_that_was_held_back_is_told() -> None:
    throttle = Throttle[str](every=300, per_minute=2)
    throttle.offer("a", "a", 0)
    throttle.offer("a", "a again", 1)
    throttle.offer("b", "b", 2)
    throttle.offer("c", "c", 3)
    assert throttle.release(4, all_of_it=True) == [Sending(items=("c", "a again"), is_digest=True)]
    assert throttle.due is None


def test_it_forgets_what_could_be_told_again_and_never_grows_without_end() -> None:
    throttle = Throttle[int](every=300, per_minute=MOST_KEYS * 2)
    for number in range(MOST_KEYS + 100):
        throttle.offer(number, number, 0)
    assert len(throttle._told) == MOST_KEYS
    throttle.offer("late", 1, 1000)
    assert len(throttle._told) == 1
