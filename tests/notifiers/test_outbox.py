"""Messages leave by a thread of their channel: tried again, given up, never in anybody's way, and in its language."""

from __future__ import annotations

import threading
from datetime import UTC
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from zquant_flow import logs
from zquant_flow.core.notify import Notice
from zquant_flow.errors import ExpressionError
from zquant_flow.notifiers.outbox import MOST_WAITING, Outbox, SendingFailed
from zquant_flow.notifiers.texts import Occurrence, Writer
from zquant_flow.notifiers.throttle import Throttle
from zquant_flow.plugin.channels import Channel
from zquant_flow.plugin.notifiers import Message
from zquant_flow.testing import FakeClock
from zquant_flow.wording import say

PATIENCE = 10.0


def failed(task: str = "load", **facts: Any) -> Occurrence:
    said: dict[str, Any] = {
        "notice": Notice.FAILURE,
        "execution_id": 7,
        "task_id": hash(task),
        "task": task,
        "node": None,
        "status": "failed",
        "at": 1_767_614_400_000_000,
        "attempt": 2,
        "logical_time": 1_767_614_400_000_000,
        "trigger_type": "schedule",
        "error_code": "exit_code",
        "error": say("exit code {code}", code=3),
        "duration_seconds": 3.21,
    }
    return Occurrence(**{**said, **facts})


def writer(tmp_path: Path = Path("/nowhere"), **said: Any) -> Writer:
    channel = Channel.model_validate({"type": "test", **said})
    return Writer(channel, "en", zone=UTC, data_dir=tmp_path, link=lambda number: f"https://flow/{number}")


class Line:
    """Takes messages, or fails as often as it was told to."""

    def __init__(self, faults: int = 0) -> None:
        self.faults = faults
        self.tries: SimpleQueue[Message] = SimpleQueue()

    def send(self, message: Message) -> None:
        self.tries.put(message)
        if self.faults:
            self.faults -= 1
            raise SendingFailed("no connection")

    def next(self) -> Message:
        return self.tries.get(timeout=PATIENCE)


def outbox(send: Any, **options: Any) -> Outbox:
    throttle = Throttle[Occurrence](every=options.pop("every", 0), per_minute=options.pop("per_minute", 1000))
    return Outbox("ops", send=send, writer=writer(), throttle=throttle, clock=FakeClock(), **options)


def end(box: Outbox) -> None:
    box.stop()
    box.wait(PATIENCE)


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_that_fails_is_tried_again_as_the_same_one() -> None:
    line = Line(faults=2)
    box = outbox(line.send, pauses=(0, 0, 0))
    box.tell(failed())
    tries = [line.next() for _ in range(3)]
    end(box)
    assert len({message.id for message in tries}) == 1
    assert (box.tally.sent, box.tally.failed, box.tally.last_error) == (1, 2, "no connection")


def test_a_channel_that_is_dead_has_one_try_for_each_until_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line(faults=3)
    box = outbox(line.send, pauses=(0,))
    for task in ("a", "b", "c", "d"):
        box.tell(failed(task))
    titles = [line.next().title.split()[0] for _ in range(5)]
    end(box)
    assert titles == ["a", "a", "b", "c", "d"]
    given_up = [record for record in caplog.records if record.__dict__["action"] == "notification_failed"]
    assert len(given_up) == 2
    assert box.tally.sent == 2


def test_telling_never_waits_and_a_stop_only_so_long() -> None:
    entered, held = threading.Event(), threading.Event()

    def hangs(message: Message) -> None:
        entered.set()
        held.wait(PATIENCE)

    box = outbox(hangs)
    box.tell(failed("first"))
    assert entered.wait(PATIENCE)
    for number in range(MOST_WAITING + 5):
        box.tell(failed(str(number)))
    assert (box.waiting, box.tally.dropped) == (MOST_WAITING, 5)
    box.stop()
    box.wait(0.0)
    held.set()
    box.wait(PATIENCE)


def test_a_stop_ends_the_wait_between_tries_and_sends_what_is_held_back() -> None:
    line = Line(faults=1)
    box = outbox(line.send, pauses=(PATIENCE * 100,), every=300)
    box.tell(failed("a"))
    line.next()
    box.tell(failed("a"))
    end(box)
    assert line.next().facts["repeated"] == 0, "the one held back, by itself"


# ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_says_what_where_and_why() -> None:
    message = writer().one(failed(), repeated=4)
    assert message.title == "load has failed"
    assert message.body.splitlines() == [
        "Status: failed (exit_code)",
        "Error: exit code 3",
        "Execution: 7, attempt 2",
        "Logical time: 2026-01-05 12:00:00 UTC",
        "Duration: 3.2 s",
        "4 more like this were held back since the last message.",
        "https://flow/7",
    ]
    assert (message.event, message.level, message.facts["error"]) == ("failure", "error", "exit code 3")


@pytest.mark.parametrize("notice", list(Notice))
def test_every_kind_of_notice_has_a_title_of_its_own_in_both_languages(notice: Notice) -> None:
    titles = {
        writer(language=language).one(failed(notice=each)).title
        for each in Notice
        for language in ("en", "zh")
    }
    assert len(titles) == 2 * len(Notice)
    assert writer(language="zh").one(failed(notice=notice)).body.startswith("状态：")


def test_a_node_is_named_with_its_workflow() -> None:
    assert writer().one(failed("nightly", node="load")).title == "nightly / load has failed"


def test_a_channel_may_have_templates_of_its_own() -> None:
    made = writer(title="[{{ event|upper }}] {{ task }}", body="{{ title }}: {{ error|default('?') }}")
    message = made.one(failed())
    assert (message.title, message.body) == ("[FAILURE] load", "load has failed: exit code 3")


def test_a_template_that_fails_is_replaced_by_the_text_that_needs_none() -> None:
    assert writer(title="{{ error.text }}").one(failed()).title == "load has failed"


@pytest.mark.parametrize("template", ["{{ taks }}", "{{ task", "{{ task.__class__() }}"])
def test_a_template_that_can_t_be_read_is_refused(template: str) -> None:
    with pytest.raises(ExpressionError):
        writer(title=template)


def test_the_last_lines_of_the_log_are_added_on_request(tmp_path: Path) -> None:
    log = logs.AttemptLog(logs.log_path(tmp_path, 7, 2))
    log.write(b"one\ntwo\nthree\n")
    log.close()
    assert writer(tmp_path, log_lines=2).one(failed()).body.endswith("\n\ntwo\nthree")
    assert "three" not in writer(tmp_path).one(failed()).body
    assert writer(tmp_path, log_lines=2).one(failed(execution_id=8)).facts["log"] is None


def test_a_digest_names_what_it_gathers() -> None:
    digest = writer().digest([failed("a"), failed("b", notice=Notice.RETRY)], more=3)
    assert digest.title == "5 notifications in short time"
    assert digest.body.splitlines() == [
        "2026-01-05 12:00:00 UTC  a has failed  #7",
        "2026-01-05 12:00:00 UTC  b has failed and is tried again  #7",
        "and 3 more",
    ]
    assert digest.facts["count"] == 5
