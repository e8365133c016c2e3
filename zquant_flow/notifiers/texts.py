"""What does a message say? In the channel's language, or by the channel's own templates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

from zquant_flow import logs
from zquant_flow.core.expressions import check, render
from zquant_flow.core.instants import from_micros
from zquant_flow.core.notify import Notice
from zquant_flow.errors import ExpressionError
from zquant_flow.plugin.channels import Channel
from zquant_flow.plugin.notifiers import Level, Message
from zquant_flow.wording import Language, joined, say, translated

log = logging.getLogger(__name__)

MOST_ERROR = 2_000
"""Characters of an error in a message."""
MOST_LOG = 16_384
"""Bytes of a log in a message."""
FACTS = (
    *(
        "event",
        "task",
        "task_id",
        "execution_id",
        "node",
        "status",
        "error_code",
        "error",
        "duration_seconds",
    ),
    *("attempt", "logical_time", "time", "trigger_type", "url", "log", "repeated", "title", "body"),
)
"""What templates can name; `title` and `body` are what would be said without them."""
_LEVELS: Mapping[Notice, Level] = {
    Notice.FAILURE: "error",
    Notice.SUCCESS: "success",
    Notice.RETRY: "warning",
    Notice.DEADLINE: "warning",
    Notice.RECOVERY: "success",
}
_TITLES = {
    Notice.FAILURE: lambda what: say("{what} has failed", what=what),
    Notice.SUCCESS: lambda what: say("{what} has succeeded", what=what),
    Notice.RETRY: lambda what: say("{what} has failed and is tried again", what=what),
    Notice.DEADLINE: lambda what: say("{what} has not ended in time", what=what),
    Notice.RECOVERY: lambda what: say("{what} has succeeded again", what=what),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """What has happened to an execution. Instants are microseconds since 1970; `attempt` is the one that it is about."""

    notice: Notice
    execution_id: int
    task_id: int
    task: str
    node: str | None
    status: str
    at: int
    attempt: int
    logical_time: int | None
    trigger_type: str
    error_code: str | None = None
    error: str | None = None
    duration_seconds: float | None = None

    @property
    def what(self) -> str:
        """The task, or the node within it."""
        return self.task if self.node is None else f"{self.task} / {self.node}"


class Writer:
    """Writes the messages of one channel."""

    def __init__(
        self,
        channel: Channel,
        language: Language,
        *,
        zone: tzinfo,
        data_dir: Path,
        link: Callable[[int], str | None],
    ) -> None:
        """`link`: the address of an execution. Raises ExpressionError for a template that can't be read."""
        self._channel, self._language = channel, channel.language or language
        self._zone, self._data_dir, self._link = zone, data_dir, link
        for template in (channel.title, channel.body):
            _check(template)

    def one(self, occurrence: Occurrence, repeated: int = 0) -> Message:
        """The message of one thing, that was held back so many times before."""
        facts = self._facts(occurrence, repeated)
        title = self._said(_TITLES[occurrence.notice](occurrence.what))
        body = self._body(occurrence, facts)
        scope = {**facts, "title": title, "body": body}
        return Message(
            title=self._rendered(self._channel.title, scope, title),
            body=self._rendered(self._channel.body, scope, body),
            event=occurrence.notice.value,
            level=_LEVELS[occurrence.notice],
            facts=facts,
        )

    def digest(self, occurrences: Sequence[Occurrence], more: int) -> Message:
        """One message of many things."""
        lines = [
            f"{self._instant(each.at)}  {self._said(_TITLES[each.notice](each.what))}  #{each.execution_id}"
            for each in occurrences
        ]
        if more:
            lines.append(self._said(say("and {count} more", count=more)))
        count = len(occurrences) + more
        worst = any(each.notice is Notice.FAILURE for each in occurrences)
        return Message(
            title=self._said(say("{count} notifications in short time", count=count)),
            body="\n".join(lines),
            event="digest",
            level="error" if worst else "warning",
            facts={"count": count, "notices": [self._facts(each, 0, with_log=False) for each in occurrences]},
        )

    def trial(self, name: str) -> Message:
        """A message that says that messages come through."""
        return Message(
            title=self._said(say("zquant-flow: a test")),
            body=self._said(say("The channel {name!r} works.", name=name)),
            event="test",
            facts={},
        )

    def _facts(self, occurrence: Occurrence, repeated: int, *, with_log: bool = True) -> dict[str, Any]:
        error = occurrence.error
        return {
            "event": occurrence.notice.value,
            "task": occurrence.task,
            "task_id": occurrence.task_id,
            "execution_id": occurrence.execution_id,
            "node": occurrence.node,
            "status": occurrence.status,
            "error_code": occurrence.error_code,
            "error": None if error is None else translated(error, self._language)[:MOST_ERROR],
            "duration_seconds": occurrence.duration_seconds,
            "attempt": occurrence.attempt,
            "logical_time": self._iso(occurrence.logical_time),
            "time": self._iso(occurrence.at),
            "trigger_type": occurrence.trigger_type,
            "url": self._link(occurrence.execution_id),
            "log": self._log_of(occurrence) if with_log else None,
            "repeated": repeated,
        }

    def _body(self, occurrence: Occurrence, facts: Mapping[str, Any]) -> str:
        return "\n".join(self._said(line) for line in self._lines(occurrence, facts))

    def _lines(self, occurrence: Occurrence, facts: Mapping[str, Any]) -> Iterable[str]:
        code = occurrence.error_code
        yield say(
            "Status: {status}", status=occurrence.status if code is None else f"{occurrence.status} ({code})"
        )
        if facts["error"]:
            yield say("Error: {error}", error=facts["error"])
        yield say(
            "Execution: {id}, attempt {attempt}", id=occurrence.execution_id, attempt=occurrence.attempt
        )
        if occurrence.logical_time is not None:
            yield say("Logical time: {instant}", instant=self._instant(occurrence.logical_time))
        if occurrence.duration_seconds is not None:
            yield say("Duration: {seconds} s", seconds=f"{occurrence.duration_seconds:.1f}")
        if facts["repeated"]:
            yield say(
                "{count} more like this were held back since the last message.", count=facts["repeated"]
            )
        if facts["url"]:
            yield facts["url"]
        if facts["log"]:
            yield f"\n{facts['log']}"

    def _log_of(self, occurrence: Occurrence) -> str | None:
        if not self._channel.log_lines:
            return None
        path = logs.log_path(self._data_dir, occurrence.execution_id, occurrence.attempt)
        try:
            end = logs.size(path)
            start = max(logs.start_of_tail(path, end, self._channel.log_lines), end - MOST_LOG)
            text = logs.read(path, start, end - start)[0].decode(errors="replace").strip()
        except OSError:
            return None
        return text.replace("\0", "\ufffd") or None

    def _rendered(self, template: str | None, scope: Mapping[str, Any], otherwise: str) -> str:
        if template is None:
            return otherwise
        try:
            return render(template, scope)
        except ExpressionError as exc:
            log.warning(
                "a template of a channel can't be filled in: %s",
                exc.detail,
                extra={"action": "template_failed"},
            )
            return otherwise

    def _said(self, text: str) -> str:
        return translated(text, self._language)

    def _instant(self, micros: int) -> str:
        return f"{from_micros(micros).astimezone(self._zone):%Y-%m-%d %H:%M:%S %Z}"

    def _iso(self, micros: int | None) -> str | None:
        return None if micros is None else from_micros(micros).astimezone(self._zone).isoformat()


def _check(template: str | None) -> None:
    if template is None:
        return
    for path in check(template, template=True).paths:
        if path[0] not in FACTS:
            raise ExpressionError(
                say(
                    "a template of a channel knows no {name!r}: it has {known}",
                    name=str(path[0]),
                    known=joined(", ", FACTS),
                )
            )
