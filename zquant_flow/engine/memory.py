"""What does an engine remember of the executions it owns?

Plain records without behaviour of their own. The rows say the same; a new engine rebuilds all of this from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zquant_flow.clock import Clock
from zquant_flow.core.estimates import Shares
from zquant_flow.core.graph import Plan
from zquant_flow.core.model import Action, Node, Overlap, TaskDef
from zquant_flow.core.progress import Progress, SkipReason
from zquant_flow.core.status import Status, TriggerType
from zquant_flow.store.batch import Batch, Row

UNBOUNDED = 1 << 62


@dataclass(frozen=True, slots=True)
class Filed:
    """A result that lies in a file: of the first of these executions that has one. `size` in bytes."""

    execution_ids: tuple[int, ...]
    size: int
    text: str | None = field(default=None, repr=False)
    """Its JSON, where the engine has read it."""
    fault: str | None = None
    """Why the engine could not."""


Result = str | Filed
"""What an execution has given, as JSON."""


@dataclass(slots=True, eq=False)
class Task:
    """A registered task and where its schedule stands. Instants in microseconds."""

    id: int
    name: str
    version: int
    definition: TaskDef
    folder: str
    """The folder of its file below the tasks folder, posix; empty at the top."""
    enabled: bool
    paused: bool
    anchor: int
    cursor: int
    archived: bool = False
    idle_since: int | None = None
    next_fire: int | None = None
    active: dict[int, Execution] = field(default_factory=dict)
    backfilled: dict[int, Execution] = field(default_factory=dict)
    """Active executions of backfills: they have a limit of their own, and `overlap` does not look at them."""
    queue: deque[Execution] = field(default_factory=deque)
    """Executions that wait for the active ones (`overlap: queue`, `replace`, nodes)."""
    held: list[Execution] = field(default_factory=list)
    """Retries and queued executions that came due while the task was paused."""
    latest_id: int | None = None
    latest_status: str | None = None
    latest_time: int | None = None
    files_since: int | None = None
    """Files that were there before do not start it; None where it waits for none."""
    seen_until: int | None = None
    """The newest logical time that has fired; None until it is asked for."""

    def remember(self, execution: Execution) -> None:
        """An execution of it is active."""
        (self.active if execution.backfill is None else self.backfilled)[execution.id] = execution

    def forget(self, execution: Execution) -> None:
        """An execution of it has ended."""
        self.active.pop(execution.id, None)
        self.backfilled.pop(execution.id, None)

    @property
    def limit(self) -> int:
        """How many of its executions may be active before `overlap` decides."""
        if self.definition.overlap is Overlap.ALLOW:
            return UNBOUNDED
        return self.definition.max_active_runs or 1

    @property
    def holds(self) -> bool:
        """Whether what waits is held back: paused, unless nobody can resume it any more."""
        return self.paused and not self.archived

    @property
    def idle(self) -> bool:
        """Whether fires are not looked for: disabled or paused."""
        return not self.enabled or self.paused


@dataclass(slots=True, eq=False)
class Execution:
    """An execution that has not ended."""

    id: int
    task: Task
    version: int
    definition: TaskDef
    action: Action | None
    trigger_type: TriggerType
    parent: Execution | None = None
    node: int = -1
    """Its index in the parent's plan."""
    status: Status = Status.PENDING
    logical_time: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    retry_count: int = 0
    created_time: int = 0
    start_time: int | None = None
    attempt_start: int | None = None
    started_monotonic: float = 0.0
    waiting_for: str | None = None
    percent: float | None = None
    news: dict[str, Any] | None = None
    """What its attempt has told last."""
    reported: float = 0.0
    """When its progress was last written (monotonic)."""
    attempt_monotonic: float = 0.0
    paused_since: float | None = None
    stood_still: float = 0.0
    """Seconds that it was paused: of a workflow in all, else in this attempt."""
    pausing: bool = False
    """It was asked to stand still, and does not yet; one that another engine has handed over, also before it starts."""
    terminating: str | None = None
    """Why it is being ended: the outcome's kind that was asked for."""
    resume_from: int | None = None
    """The execution whose successes this one takes over."""
    backfill: int | None = None
    event: Mapping[str, Any] | None = None
    """What started it, where that was an event: its `kind`, and what is known of it."""
    handle: str | None = None
    """What finds again what its attempt has begun elsewhere (JSON)."""
    checks: int = 0
    """How often its attempt has looked and waits to look again."""
    losses: int = 0
    """How many looks in a row were lost."""
    ending: str | None = None
    """Its attempt is only there to end what runs elsewhere, for this reason."""
    time_left: float | None = None
    """Seconds that are left to its attempt; None where it has all of them."""
    deadline: int | None = None
    """When it should have ended (microseconds); None without, and once it has been missed."""
    run: Run | None = None
    row: Row | None = None
    """The row not yet written, while its turn lasts."""
    engine: int | None = None
    """The other engine that drives it; None for this one."""
    under: int | None = None
    """The root it belongs to, where another engine has handed it over and knows what stands above."""
    called: str | None = None
    """Its node's name there."""

    @property
    def root(self) -> Execution:
        """The top execution it belongs to; itself for a root."""
        top = self
        while top.parent is not None:
            top = top.parent
        return top

    @property
    def root_id(self) -> int:
        """The id of the top execution, wherever that is driven."""
        top = self.root
        return top.under or top.id

    @property
    def rerun(self) -> Rerun | None:
        """What it runs again, where it was made for that; one that only takes over its event was not."""
        said = (self.event or {}).get("rerun")
        if said is None or said["of"] != self.resume_from:
            return None
        return Rerun(said["node"], said["descendants"])

    @property
    def inline(self) -> bool:
        """Defined in its workflow: it has no history of its own."""
        return self.parent is not None and self.task is self.parent.task


@dataclass(slots=True, eq=False)
class Run:
    """A workflow under way, or a node with `for_each`: its items are nodes that wait for nobody."""

    plan: Plan
    nodes: Sequence[Node]
    progress: Progress
    shares: Shares
    """How far it is, by what its nodes took before."""
    max_parallel: int
    items: Sequence[Any] | None = None
    """What a node with `for_each` runs for; None for a workflow."""
    gathered: list[str | None] = field(default_factory=list)
    """The results of its items as JSON, by index."""
    gathered_size: int = 0
    """Characters of them."""
    gathered_fault: str | None = None
    """Why one of them can't be among them."""
    children: dict[int, Execution] = field(default_factory=dict)
    backlog: deque[tuple[int, SkipReason | None]] = field(default_factory=deque)
    """What its progress has decided and nobody has carried out yet: nodes that may start, and skipped ones with the reason."""
    parked: deque[int] = field(default_factory=deque)
    """Nodes that are ready and wait for `max_parallel`."""
    paused: bool = False
    held: list[int] = field(default_factory=list)
    """Nodes that came to be ready while it is paused."""
    stalled: list[Execution] = field(default_factory=list)
    """Executions of its nodes that would have started while it is paused: retries, and those that waited for others."""
    wanted: frozenset[str] = frozenset()
    """Names of the nodes whose results others take."""
    named: frozenset[str] = frozenset()
    """Those of them that the engine itself must look into: an expression names them, say."""
    results: dict[str, Any] = field(default_factory=dict)
    filed: dict[str, Filed] = field(default_factory=dict)
    """Those of their results that lie in files."""
    before_commands: frozenset[int] = frozenset()
    """The nodes that commands wait for."""
    passed: dict[int, Result] = field(default_factory=dict)
    """Their results."""
    occupied: int = 0
    """Nodes started and not ended, and those handed to the dispatcher."""
    usual: float | None = None
    """Seconds that it took before."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """One node of an earlier execution is to run again, and with `descendants` all that wait for it, also by way of others."""

    node: str
    descendants: bool = False


@dataclass(frozen=True, slots=True)
class Reused:
    """A node that is not to run again: its execution then, how that ended, and its result."""

    node: int
    task_id: int
    version: int
    execution_id: int
    result: Result | None
    params: str | None = None
    """As JSON, where it had some of its own."""
    status: Status = Status.SUCCESS
    code: str | None = None
    error: str | None = None
    skip_reason: str | None = None


@dataclass(slots=True)
class Memory:
    """The whole of it, and the batch that the current turn fills."""

    engine_id: int
    epoch: int
    clock: Clock
    last_id: int
    takers: frozenset[str] = frozenset({"command"})
    """The executors that get the results of the nodes before them."""
    tasks: dict[int, Task] = field(default_factory=dict)
    by_name: dict[str, Task] = field(default_factory=dict)
    archived: dict[int, Task] = field(default_factory=dict)
    """Tasks that are gone and still have executions."""
    executions: dict[int, Execution] = field(default_factory=dict)
    batch: Batch = field(default_factory=Batch)
    adhoc: dict[str, int] = field(default_factory=dict)
    """Hidden tasks that this turn makes, by name."""
    fresh: list[Execution] = field(default_factory=list)
    changed: dict[int, int] = field(default_factory=dict)
    """How often each execution's row has been changed in this turn."""
    now: int = 0
    """The wall clock at the start of this turn."""
    turn: int = 0
    """How many batches this term has had."""
    told: bool = False
    """Whether this turn wrote something besides its batch."""
    take_block: Callable[[], range] | None = None
    """Takes the next ids from the database, where others take theirs from it too."""
    _block: range = range(0)

    @property
    def term(self) -> tuple[int, int]:
        """The engine's id and epoch."""
        return self.engine_id, self.epoch

    def updates(self, execution: Execution) -> Batch:
        """Where the next change of this execution's row belongs: a second one in a turn is written after the first."""
        times = self.changed.get(execution.id, 0)
        self.changed[execution.id] = times + 1
        batch = self.batch
        for _ in range(times):
            if batch.later is None:
                batch.later = Batch()
            batch = batch.later
        return batch

    def new_id(self) -> int:
        """The next execution id; it is written with the turn's batch, or comes from a block that is this engine's."""
        if self.take_block is None:
            self.last_id += 1
            return self.last_id
        if not self._block:
            self._block = self.take_block()
        number, self._block = self._block[0], self._block[1:]
        return number

    def take_batch(self) -> Batch:
        """The turn's batch, and an empty one in its place."""
        full, self.batch = self.batch, Batch()
        full.last_id = self.last_id
        return full

    def settle(self) -> None:
        """The batch is in the database: from here on rows are updated, not shaped."""
        for execution in self.fresh:
            execution.row = None
        self.fresh.clear()
        self.changed.clear()
        self.adhoc.clear()

    def forget(self) -> None:
        """Know nothing any more: what is under way will be rebuilt from the rows."""
        for known in (
            self.tasks,
            self.by_name,
            self.archived,
            self.executions,
            self.changed,
            self.fresh,
            self.adhoc,
        ):
            known.clear()
        self.batch = Batch()
