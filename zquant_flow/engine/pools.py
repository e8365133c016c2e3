"""Which pools are there, how many places has each, and who holds them?

Pools of `zquant-flow.toml` and those made over REST; where both name one, the file's counts. The engine that leads counts
alone: what uses a pool is never handed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zquant_flow.core.model import TaskDef
from zquant_flow.definitions.faults import did_you_mean
from zquant_flow.definitions.registry import node_pool
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.memory import Execution, Memory
from zquant_flow.errors import PoolInSettings, PoolInUse, PoolNotFound
from zquant_flow.store import pools as store
from zquant_flow.store.database import Database
from zquant_flow.wording import joined, say

SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a pool stands: `holders` are executions; `ahead` says of those asked for how many start before them."""

    name: str
    slots: int
    holders: Sequence[int]
    ahead: Mapping[int, int]

    @property
    def is_full(self) -> bool:
        return len(self.holders) >= self.slots


class Pools:
    """The pools of one engine. Owned by its thread."""

    def __init__(
        self, database: Database, memory: Memory, dispatcher: Dispatcher, settings: Mapping[str, int]
    ) -> None:
        self._database = database
        self._memory = memory
        self._dispatcher = dispatcher
        self._settings = dict(settings)
        self._rows: dict[str, Any] = {}

    def load(self) -> None:
        """Read them; the dispatcher counts by them from now on."""
        self._rows = {row.name: row for row in store.all_pools(self._database)}
        self._dispatcher.resize(self.slots)

    @property
    def slots(self) -> dict[str, int]:
        """The places of each."""
        return {name: row.slots for name, row in self._rows.items()} | self._settings

    def put(self, name: str, slots: int, description: str | None, actor: str) -> None:
        """Make a pool, or change one. Raises PoolInSettings."""
        self._refuse_settings(name)
        memory = self._memory
        store.put(
            self._database,
            name=name,
            slots=slots,
            description=description,
            actor=actor,
            now=memory.now,
            term=memory.term,
        )
        self.load()

    def delete(self, name: str, definitions: Iterable[TaskDef]) -> None:
        """Delete a pool that nobody names. Raises PoolInSettings, PoolNotFound, PoolInUse."""
        self._refuse_settings(name)
        if name not in self._rows:
            raise PoolNotFound(self.unknown(name))
        users = sorted(task.name for task in definitions if name in pools_of(task))
        if users or self._dispatcher.pools[name].used or self._dispatcher.waiting_in(name):
            raise PoolInUse(
                say(
                    "pool {name!r} is in use by {tasks}: change those first, or set its slots to 0",
                    name=name,
                    tasks=joined(", ", users[:SHOWN]) if users else say("executions that are active"),
                ),
                tasks=users,
            )
        store.remove(self._database, name, term=self._memory.term)
        self.load()

    def listed(self) -> list[dict[str, Any]]:
        """All of them by name, with who holds their places and how many entries wait."""
        return [self.described(name) for name in sorted(self.slots)]

    def described(self, name: str) -> dict[str, Any]:
        """One of them. Raises PoolNotFound."""
        slots = self.slots
        if name not in slots:
            raise PoolNotFound(self.unknown(name))
        row, pool = self._rows.get(name), self._dispatcher.pools[name]
        return {
            "name": name,
            "slots": slots[name],
            "used": len(pool.used),
            "waiting": self._dispatcher.waiting_in(name),
            "description": "" if row is None else row.description,
            "source": "settings" if name in self._settings else "api",
            "executions": sorted(pool.used),
        }

    def standing(self, name: str, executions: Iterable[int]) -> Standing:
        """How it stands for these executions."""
        found = {id_: self._memory.executions.get(id_) for id_ in executions}
        ahead = {id_: self._dispatcher.ahead_of(known) for id_, known in found.items() if known is not None}
        pool = self._dispatcher.pools.get(name)
        return Standing(
            name=name,
            slots=self.slots.get(name, 0),
            holders=sorted(pool.used) if pool is not None else (),
            ahead={id_: count for id_, count in ahead.items() if count is not None},
        )

    def standing_of_node(self, name: str, execution: Execution, node: int) -> Standing:
        """How it stands for a node that has no execution yet; `ahead` is by its workflow's execution."""
        ahead = self._dispatcher.ahead_of(execution, node)
        return replace(self.standing(name, ()), ahead={} if ahead is None else {execution.id: ahead})

    def unknown(self, name: str) -> str:
        return say("there is no pool {name!r}{hint}", name=name, hint=did_you_mean(name, self.slots))

    def _refuse_settings(self, name: str) -> None:
        if name in self._settings:
            raise PoolInSettings(
                say("pool {name!r} is set in zquant-flow.toml; change it there", name=name), name=name
            )


def pools_of(task: TaskDef) -> set[str]:
    """The pools that a definition names."""
    nodes = task.workflow.nodes if task.workflow is not None else ()
    named = [task.action.pool if task.action is not None else None, *map(node_pool, nodes)]
    return {pool for pool in named if pool is not None}
