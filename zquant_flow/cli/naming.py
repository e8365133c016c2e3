"""Which task is meant by a word of the command line?"""

from __future__ import annotations

from collections.abc import Sequence

from zquant_flow.client import ApiError, Client, Task
from zquant_flow.definitions.faults import did_you_mean
from zquant_flow.errors import TaskNotFound
from zquant_flow.wording import say


def the_task(client: Client, word: str) -> Task:
    """The task of that id or name; digits are an id first. Raises TaskNotFound with the nearest name."""
    try:
        if word.isascii() and word.isdigit():
            return client.get_task(int(word))
    except ApiError as exc:
        if exc.status not in (404, 422):
            raise
    try:
        return client.get_task(word)
    except ApiError as exc:
        if exc.code != "task_not_found":
            raise
    known = [task.name for task in client.list_tasks(limit=1000).tasks]
    raise TaskNotFound(say("no task is named {name!r}{hint}", name=word, hint=did_you_mean(word, known)))


def the_tasks(client: Client, words: Sequence[str]) -> list[Task]:
    """All of them, each once; where one is not there, none is touched."""
    found = {task.id: task for task in (the_task(client, word) for word in words)}
    return list(found.values())
