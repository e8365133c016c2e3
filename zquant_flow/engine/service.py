"""How do the parts of an engine work together, from its start to its stop?

One thread decides. Everything reaches it through one inbox: operations of the API and the command line, outcomes of the
backend, files that were read, the bell. It drains the inbox, decides, commits one transaction for all of it, and acts.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy.exc import OperationalError

from zquant_flow.calendars.provider import Calendars
from zquant_flow.clock import Clock
from zquant_flow.core.instants import from_micros
from zquant_flow.core.model import TaskDef
from zquant_flow.core.schedule import Times
from zquant_flow.core.status import Status
from zquant_flow.definitions.calendars import calendars_of
from zquant_flow.engine import log_files
from zquant_flow.engine.awaited import Awaited
from zquant_flow.engine.bell import Bell
from zquant_flow.engine.bundles import BundleFolders
from zquant_flow.engine.dispatcher import Dispatcher
from zquant_flow.engine.earlier import Earlier
from zquant_flow.engine.events import Events
from zquant_flow.engine.fans import DEFAULT_LIMIT
from zquant_flow.engine.keys import Keys
from zquant_flow.engine.large_results import LargeResults
from zquant_flow.engine.lease import Lease
from zquant_flow.engine.ledger import Ledger
from zquant_flow.engine.letters import Letters
from zquant_flow.engine.lifecycle import Lifecycle
from zquant_flow.engine.memory import Memory
from zquant_flow.engine.observing import Observing
from zquant_flow.engine.orders import Orders
from zquant_flow.engine.pools import Pools
from zquant_flow.engine.recovery import recover
from zquant_flow.engine.registered import Registered
from zquant_flow.engine.registration import Registrar
from zquant_flow.engine.resuming import Resuming
from zquant_flow.engine.scheduler import Scheduler
from zquant_flow.engine.situations import Situations
from zquant_flow.engine.weights import Weights
from zquant_flow.engine.worker import Backend, Frame, Worker
from zquant_flow.errors import NotLeading, RunnerUnavailable, Unavailable, ZquantFlowError
from zquant_flow.executors.installed import built_in
from zquant_flow.failpoints import reached
from zquant_flow.plugin.plugins import Plugins
from zquant_flow.store import batch as store_batch
from zquant_flow.store.database import Database, take
from zquant_flow.store.notices import ANYBODY
from zquant_flow.store.terms import Fenced, last_number
from zquant_flow.wording import say

log = logging.getLogger(__name__)

T = TypeVar("T")
BLOCK = 1000
"""So many ids at a time takes an engine that shares its database."""
KILL_SECONDS = 15.0
"""How long a stop waits for attempts that have been ended; the runner's own grace is shorter."""
RUNNER_PAUSE = 1.0
"""Seconds between two tries to start a runner."""
STORE_PAUSE = 0.5
"""Seconds between two tries to write."""


class Engine:
    """The scheduler core.

    Threads: one of its own, started by `start`, ended by `stop` (both may be called twice, in any order); APScheduler's,
    which only rings; the backend's reader, which only puts frames into the inbox. `call` may be used from any thread.
    """

    def __init__(
        self,
        *,
        database: Database,
        backend: Callable[[Callable[[Frame], None], Callable[[], None]], Backend],
        clock: Clock,
        tasks_dir: Path,
        data_dir: Path,
        zone: ZoneInfo,
        slots: int,
        pools: Mapping[str, int] | None = None,
        plugins: Callable[[], Plugins] = built_in,
        shutdown_grace: float = 30.0,
        with_bell: bool = True,
        fires: bool = True,
        rests: bool = False,
        lease: float | None = None,
        item_limit: int = DEFAULT_LIMIT,
        calendars: Calendars | None = None,
    ) -> None:
        """`backend` is made with two callbacks: one for its frames, one for its loss. Without `fires` no schedule fires.

        One that `rests` looks at no execution at all: it only keeps tasks, for who works on a data folder that nobody serves.
        With `lease` (seconds) others may share the database: one of them leads, and hands executions over to the others.
        `item_limit`: how many items a node with `for_each` may have. `plugins`: whose executors hold now.
        """
        self.database = database
        self._clock = clock
        self.calendars = calendars or Calendars(data_dir, tasks_dir.parent / "calendars", clock=clock)
        self._grace = shutdown_grace
        self._fires = fires and not rests
        self.rests = rests
        self.lease = Lease(database, clock, data_dir, 0 if rests else slots, lease)
        self.on_fenced: Callable[[], None] = lambda: None
        """Called in the engine's thread when another has ended its term: this one is of no use any more."""
        self.on_leading: Callable[[], None] = lambda: None
        """Called in the engine's thread when it comes to lead after its start; it must not wait for the engine."""
        self.unwritable: str | None = None
        """Why the database can't be written now; None while it can, as far as is known."""
        self._committed = threading.Event()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._idle = threading.Event()
        self._hurried = threading.Event()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._listeners: list[Callable[[], None]] = []
        self._replies: list[tuple[Future[Any], Any]] = []
        self._bell = Bell(self.ring) if with_bell else None
        self._plugins = plugins
        self.memory = Memory(engine_id=0, epoch=0, clock=clock, last_id=0)
        self._note_plugins()
        if self.lease.shared:
            self.memory.take_block = self._take_block
        self._dispatcher = Dispatcher(slots)
        self.resuming = Resuming(database, self.memory)
        self.keys = Keys(database, self.memory)
        self.lifecycle = Lifecycle(self.memory, self._dispatcher, self._wake_after, self.resuming.taken_over)
        self.lifecycle.workflows.aside = self._do_aside
        self.lifecycle.workflows.reusable_items = self.resuming.items
        large = LargeResults(data_dir)
        self.lifecycle.workflows.read = large.read
        self.lifecycle.workflows.item_limit = item_limit
        self.lifecycle.workflows.past = Weights(database, clock).of
        self.letters = Letters(database, self.memory, self.lifecycle, self._dispatcher, self.lease)
        if self.lease.shared:
            self.lifecycle.elsewhere = self.letters
        self.scheduler = Scheduler(self.memory, self.lifecycle, Times(zone=zone), Ledger(database))
        self.events = Events(database, self.memory, self.lifecycle)
        self.lifecycle.on_end = self.events.ended
        self.registered = Registered(database)
        self.observing = Observing(database, lambda: self.registrar.registry, self._task_name, data_dir)
        self.pools = Pools(database, self.memory, self._dispatcher, pools or {})
        self.situations = Situations(self.memory, self._dispatcher, self.pools)
        self.registrar = Registrar(
            database, self.memory, self.scheduler, self.lifecycle, self._finish_turn, self.calendars
        )
        self.registrar.on_change = self.events.listen
        earlier = Earlier(database, self.memory, self.resuming)
        self.lifecycle.workflows.nested_before = earlier.nested
        orders = Orders(
            tasks_dir=tasks_dir,
            data_dir=data_dir,
            plugins=plugins,
            bundle_folder=BundleFolders(database, data_dir).folder,
            calendars=lambda: self.calendars.known,
            earlier=earlier.of,
            awaited=Awaited(database, zone).facts,
        )
        self.lifecycle.workflows.session_days = orders.session_days
        self._backend = backend(self._from_backend, self._backend_lost)
        self._worker = Worker(
            self.memory,
            self.lifecycle,
            self._dispatcher,
            orders,
            self._backend,
            partial(log_files.remove_state, data_dir),
            large,
        )

    # ── start and stop ──────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Open the database, attach to the runner, recover what an earlier engine left, and begin to tick.

        An engine that was stopped is not started again: make another.
        """
        if self._thread is not None:
            return
        self.database.open()
        term = self.lease.begin()
        self.memory.now = self._clock.micros()
        self.memory.engine_id, self.memory.epoch, self.memory.turn = term.engine_id, term.epoch, 0
        self._build(term.last_heartbeat)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()
        if self._bell is not None:
            self._bell.start()
        self.ring()

    def _build(self, last_heartbeat: int | None = None) -> None:
        """Make the memory from the rows and from what the runner says."""
        memory = self.memory
        if not self.lease.shared:
            memory.last_id = last_number(self.database, "execution")
        self.pools.load()
        if self.rests:
            self.registrar.load(self.pools.slots)
            return
        hello = self._backend.start()
        if self.leads:
            self.registrar.load(self.pools.slots)
            self.events.load()
            self.scheduler.start_from(last_heartbeat)
        recover(
            self.database,
            memory,
            self.lifecycle,
            alive=[(id_, attempt) for id_, attempt in hello["attempts"]],
            outcomes=hello["outcomes"],
            note_elsewhere=self.letters.note_elsewhere if self.lease.shared else None,
            leads=self.leads,
        )
        self._finish_turn()
        self._backend.forget_spool()

    @property
    def leads(self) -> bool:
        """Whether this engine decides what fires, keeps the definitions and takes operations."""
        return self.lease.leads

    def refuse_following(self) -> None:
        """Raises NotLeading where another engine decides."""
        if not self.leads:
            raise NotLeading(say("another scheduler leads this database, and decides this; ask that one"))

    def _task_name(self, task_id: int) -> str:
        """From any thread."""
        task = self.memory.tasks.get(task_id) or self.memory.archived.get(task_id)
        return "" if task is None else task.name

    def _take_block(self) -> range:
        """The next ids for this engine alone."""
        with self.database.write() as connection:
            first = take(connection, "execution", BLOCK)
        return range(first, first + BLOCK)

    def stop(self, *, keep_attempts: bool = False) -> None:
        """Start nothing new, give what runs `shutdown_grace`, then end it (SEMANTICS §7.4); with `keep_attempts` leave it."""
        if self._thread is None:
            self._backend.stop(keep_attempts)
            return
        if self._bell is not None:
            self._bell.stop()
        self._post(self._close_dispatcher)
        if not keep_attempts and not self._stopping.is_set():  # one that was fenced decides nothing any more
            self._let_attempts_end()
        self._stopping.set()
        self._post(lambda: None)
        self._thread.join()
        self._thread = None
        self.observing.stop()
        self.lease.leave(stays=keep_attempts)
        if not self.rests:
            self._backend.stop(keep_attempts)
        self._refuse_what_waits()

    def _close_dispatcher(self) -> None:
        self._dispatcher.open = False
        self._note_idle()

    def hurry(self) -> None:
        """Cut the grace of a stop that is under way: whoever asks twice doesn't want to wait."""
        self._hurried.set()
        self._idle.set()

    def _let_attempts_end(self) -> None:
        if self._idle.wait(self._grace) and not self._hurried.is_set():
            return
        self._idle.clear()
        self._post(self._end_attempts)
        self._idle.wait(KILL_SECONDS)

    def _end_attempts(self) -> None:
        for execution in self.memory.executions.values():
            if execution.run is None and execution.status in (Status.RUNNING, Status.PAUSED):
                self.lifecycle.effects.terminate.append((execution, "shutdown"))

    def _refuse_what_waits(self) -> None:
        """Operations that came too late get their answer; whoever comes later still sees that it is over.

        Anything else that waits (a tick, an outcome) is for a next engine to look at.
        """
        self._over.set()
        while True:
            try:
                work = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(work, partial):
                work()

    # ── from other threads ──────────────────────────────────────────────────────────────────────────────────────

    def call(self, operation: Callable[[], T], *, timeout: float = 30.0) -> T:
        """Run an operation in the engine's thread; its answer, once what it decided is committed. Raises what it raises."""
        future = self.submit(operation)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()  # what has not begun will not be done
            raise Unavailable(say("the scheduler did not answer in time; its database may be away")) from None

    def submit(self, operation: Callable[[], T]) -> Future[T]:
        """The same without waiting. An operation raises our errors before it decides anything; any other spoils the turn."""
        future: Future[T] = Future()
        self._post(partial(self._answer, operation, future))
        if self._over.is_set():
            self._refuse_what_waits()
        return future

    def _answer(self, operation: Callable[[], T], future: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        if self._stopping.is_set() or self._thread is None:
            future.set_exception(Unavailable(say("the server is stopping; try again when it is back")))
            return
        try:
            answer = operation()
        except (ZquantFlowError, OperationalError) as exc:
            future.set_exception(exc)  # refused before anything was decided
        except BaseException as exc:
            future.set_exception(exc)
            raise  # half decided, perhaps: nothing of this turn is written
        else:
            self._replies.append((future, answer))

    def slots(self) -> tuple[int, int]:
        """How many places for attempts are in use, and how many there are."""
        return self._dispatcher.running, self._dispatcher.slots

    def times_for(self, definitions: Iterable[TaskDef]) -> Times:
        """What these are read by; for any thread. A process that decides nothing looks for their calendars here."""
        names = set().union(*map(calendars_of, definitions))
        if not names <= self.calendars.known.keys():
            self.calendars.ensure(names)
        return replace(self.scheduler.times, calendars=self.calendars.known)

    def take_plugins(self) -> None:
        """Plugins have changed: those whose executors take results are others, from the next turn on."""
        self._post(self._note_plugins)

    def _note_plugins(self) -> None:
        self.memory.takers = self._plugins().takers

    def take_calendars(self) -> None:
        """Calendars have changed: what follows them is looked at again, in the engine's thread."""
        if self.leads:
            self.submit(lambda: self.registrar.register([]))

    def now(self) -> int:
        """The wall clock, in microseconds."""
        return self._clock.micros()

    def ring(self) -> None:
        """The bell: look at the clock."""
        self._post(self._tick)

    def hear(self, engines: frozenset[int] | None) -> None:
        """Some process has committed something, with letters for these engines; for None nothing was heard for a while."""
        if self.rests:
            return
        if engines is None or self.memory.engine_id in engines or (ANYBODY in engines and self.leads):
            self._post(self.letters.read)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every commit, in the engine's thread: it must be quick and must not raise."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Stop calling that listener."""
        self._listeners.remove(listener)

    def wait_for_commit(self, seconds: float) -> None:
        """Wait for the next commit, at most so long. For one waiter at a time."""
        if self._committed.wait(seconds):
            self._committed.clear()

    @property
    def running(self) -> bool:
        """Whether the engine's thread works."""
        return self._thread is not None and self._thread.is_alive()

    def _post(self, work: Callable[[], None]) -> None:
        self._inbox.put(work)

    def _do_aside(self, work: Callable[[], object], then: Callable[[], None]) -> None:
        """Do `work` in a thread of its own, that nobody waits for, and `then` in the engine's; what failed is logged."""

        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("what was done aside has failed", extra={"action": "aside_failed"})
            self._post(then)

        threading.Thread(target=run, name="aside", daemon=True).start()

    def _from_backend(self, frame: Frame) -> None:
        self._post(lambda: self._worker.take(frame))

    def _backend_lost(self) -> None:
        self._post(self._restart_backend)

    def _restart_backend(self) -> None:
        if not self._stopping.is_set() and not self._worker.restart():
            self._wake_after(RUNNER_PAUSE, self._restart_backend)

    # ── the engine's thread ─────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while not self._stopping.is_set():
            work = self._inbox.get()
            try:
                self.turn(work)
            except Fenced:
                self._leave()
            except OperationalError as exc:
                self._note_away(exc)
                self._rebuild()
            except Exception:
                log.exception("a turn failed", extra={"action": "turn_failed"})
                self._rebuild()
        self._refuse_replies()

    def _leave(self) -> None:
        """Another engine has taken over: touch nothing more, end the attempts, which are lost to that one."""
        log.critical("another engine has taken over; this one stops", extra={"action": "fenced"})
        self._stopping.set()
        for execution in self.memory.executions.values():
            if execution.run is None and execution.status in (Status.RUNNING, Status.PAUSED):
                with contextlib.suppress(RunnerUnavailable):
                    self._backend.terminate(execution.id, execution.retry_count + 1, "terminated")
        self.on_fenced()

    def _rebuild(self) -> None:
        """The memory may be ahead of the rows: throw it away and begin from them, as after a crash."""
        while not self._stopping.is_set():
            self._refuse_replies()
            self.memory.forget()
            self.lifecycle.forget()
            self.scheduler.forget()
            self.letters.forget()
            self.events.forget()
            self._dispatcher.forget()
            self._timers.clear()
            try:
                self._backend.stop(keep_attempts=True)
                self.memory.now = self._clock.micros()
                self._build()
            except OperationalError as exc:
                self._note_away(exc)
                self._stopping.wait(STORE_PAUSE)
            except Exception:
                log.exception("the state can't be rebuilt; trying again", extra={"action": "rebuild_failed"})
                self._stopping.wait(STORE_PAUSE)
            else:
                self.unwritable = None
                log.warning("the state was rebuilt from the rows", extra={"action": "rebuilt"})
                return

    def _refuse_replies(self) -> None:
        """What was decided and not written is not decided."""
        replies, self._replies = self._replies, []
        for future, _ in replies:
            future.set_exception(Unavailable(say("the change could not be written; try again")))

    def turn(self, work: Callable[[], None] | None = None) -> None:
        """Take all that has come, decide, commit, act. Tests call it with the clock in their hands.

        What is due by now comes first: a change that has come since must not make it undue.
        """
        self.memory.now = self._clock.micros()
        if self._fires and self.leads:
            self.scheduler.tick()
        while work is not None:
            work()
            try:
                work = self._inbox.get_nowait()
            except queue.Empty:
                work = None
        self._finish_turn()

    def _finish_turn(self) -> None:
        if self.lifecycle.workflows.work_off():
            self._post(lambda: None)  # the rest has a turn of its own, after what has come meanwhile
        self.lifecycle.dispatch()
        orders = self._worker.orders_for(self.lifecycle.effects)
        self.events.flush()
        batch = self.memory.take_batch()
        effects = self.lifecycle.take_effects()
        if batch:
            reached("turn.decided")
            self.memory.turn += 1
            self._commit(batch)
            reached("turn.committed")
            if self.observing.listened:
                self.observing.take(batch)
        elif self.memory.told:
            self.observing.look()
        self.memory.settle()
        self.letters.settle()
        self._worker.act(effects, orders)
        reached("turn.acted")
        replies, self._replies = self._replies, []
        for future, answer in replies:
            future.set_result(answer)
        if batch or self.memory.told:
            self.memory.told = False
            self._committed.set()
            for listener in self._listeners:
                listener()
        self._set_bell()
        self._note_idle()

    def _commit(self, batch: store_batch.Batch) -> None:
        """Write the batch, however long the database is away: nothing is acted on before it is written.

        A commit that got no answer may have happened: the turn's number says so before it is tried again.
        """
        memory = self.memory
        term = {"engine_id": memory.engine_id, "epoch": memory.epoch, "turn": memory.turn}
        tried = False
        while True:
            try:
                if not (tried and store_batch.is_applied(self.database, **term)):
                    tried = True
                    store_batch.apply(self.database, batch, now=memory.now, shared=self.lease.shared, **term)
            except OperationalError as exc:
                self._note_away(exc)
                if self._stopping.wait(STORE_PAUSE):
                    raise
            else:
                self.unwritable = None
                return

    def _note_away(self, exc: OperationalError) -> None:
        self.unwritable = str(exc.orig)
        log.error(
            "the database can't be written (%s); trying again", exc.orig, extra={"action": "store_away"}
        )

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tick(self) -> None:
        if self.lease.renew():
            self._inherit()
        if self._fires and self.leads:
            self.scheduler.tick()
        now = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _inherit(self) -> None:
        """What another engine drove, or all of it, is this one's from now on: it is in the rows."""
        self._finish_turn()
        self._rebuild()
        self.on_leading()

    def _wake_after(self, seconds: float, what: Callable[[], None]) -> None:
        due = self._clock.monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._timer_numbers), what))

    @property
    def next_wake(self) -> datetime | None:
        """When the engine wants to look at the clock again."""
        wanted = self.scheduler.next_wake if self._fires and self.leads else None
        if self._timers:
            seconds = max(0.0, self._timers[0][0] - self._clock.monotonic())
            timer = self._clock.micros() + int(seconds * 1e6) + 1
            wanted = timer if wanted is None else min(wanted, timer)
        return from_micros(wanted)

    def _set_bell(self) -> None:
        if self._bell is not None:
            wanted = self.next_wake
            self._bell.set(None if wanted is None else self._clock.local(wanted))

    def _note_idle(self) -> None:
        if self._dispatcher.running <= 0:
            self._idle.set()
        else:
            self._idle.clear()
