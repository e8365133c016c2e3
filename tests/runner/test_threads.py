"""A worker of many attempts, without its threads."""

from __future__ import annotations

import socket

import pytest

from zquant_flow.runner import threads
from zquant_flow.runner.threads import Crowd


def test_wishes_that_come_too_late_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MOST_WISHES", 10)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        crowd = Crowd(ours)
        for number in range(50):
            crowd._obey({"op": "pause" if number % 2 else "terminate", "id": number, "attempt": 1})
    assert sorted(crowd._doomed | crowd._stilled) == [(number, 1) for number in range(40, 50)]
