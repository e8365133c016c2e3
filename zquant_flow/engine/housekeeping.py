"""How does the past get out of the way, by age and count, while the engine works?

A sweep goes once through everything that may go. It deletes in transactions of a few milliseconds and rests between them, so
that a commit of the engine hardly ever meets one. The service sweeps some minutes after the start and then every hour.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from zquant_flow.clock import Clock
from zquant_flow.config import Settings
from zquant_flow.engine import log_files
from zquant_flow.engine.service import Engine
from zquant_flow.store import calls
from zquant_flow.store import retention as store
from zquant_flow.store.database import Database
from zquant_flow.store.retention import Doomed

log = logging.getLogger(__name__)

HOUR = 3_600_000_000
DAY = 24 * HOUR
"""Microseconds."""
AT_LEAST = 30 * DAY
"""The audit, what the ledger says of skipped instants, and sources are kept so long, however short the limit."""
FIRST_AFTER, EVERY = 300.0, 3600.0
"""Seconds from the start to the first sweep, and from one to the next."""
HOLD = 0.004
"""Seconds for which a transaction is to hold the database at the most: the next one is made as large as that allows."""
FEWEST, MOST = 10, 500
"""Rows that one transaction deletes."""
LITTLE = 200
"""Rows of small tables that one transaction deletes."""
REST, LEAST_REST = 2.0, 0.005
"""So many times as long as it took rests a sweep after a transaction, and at least so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long what is kept, in microseconds, and how many executions of each task; None is for ever, and all."""

    age: int | None = None
    count: int | None = None
    logs: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """What the settings say; 0 is for ever there."""
        return cls(
            age=settings.retention_days * DAY or None,
            count=settings.retention_count or None,
            logs=settings.log_retention_days * DAY or None,
        )


@dataclass(slots=True)
class Swept:
    """What a sweep has deleted, or would."""

    executions: int = 0
    """Root executions."""
    rows: int = 0
    """Executions in all, nodes among them."""
    logs: int = 0
    log_bytes: int = 0
    audit: int = 0
    ledger: int = 0
    keys: int = 0
    backfills: int = 0
    tasks: int = 0
    """Hidden ones, that stood for definitions which were run once."""
    bundles: int = 0
    longest: float = 0.0
    """Seconds for which the longest transaction of executions held the database."""


class Stopped(Exception):
    """The sweep was told to end here."""


class Sweep:
    """One pass over everything. Runs in the caller's thread."""

    def __init__(
        self,
        database: Database,
        data_dir: Path,
        policy: Policy,
        *,
        now: int,
        rest: Callable[[float], bool] = lambda seconds: True,
        delete_tasks: Callable[[Sequence[int]], int] | None = None,
        dry_run: bool = False,
        after_entry: int = 0,
    ) -> None:
        """`rest` is called between transactions with the seconds to rest for; False ends the sweep.

        `delete_tasks` deletes hidden tasks where nobody gives them executions meanwhile; without it they stay.
        `after_entry`: where in the ledger the sweep before has stopped.
        """
        self.swept = Swept()
        self.after_entry = after_entry
        self._database = database
        self._data_dir = data_dir
        self._policy = policy
        self._now = now
        self._rest = rest
        self._delete_tasks = delete_tasks
        self._dry_run = dry_run
        self._size = FEWEST * 5
        self._touched: set[int] = set()
        self._counted: set[int] = set()
        """What a dry run has counted: age and number may both claim it, and its log."""

    def run(self) -> Swept:
        """Sweep; what came of it. One that is stopped has done a part."""
        try:
            self._sweep()
        except Stopped:
            pass
        self._drop_folders()
        return self.swept

    def _sweep(self) -> None:
        self._sweep_executions()
        self._sweep_logs()
        if self._dry_run:
            return
        self._sweep_keys()
        self._sweep_calls()
        self._sweep_backfills()
        self._sweep_tasks()
        if self._policy.age is not None:
            before = self._now - max(self._policy.age, AT_LEAST)
            self._sweep_audit(before)
            self._sweep_ledger(before)
            self._sweep_bundles(before)

    # ── executions ──────────────────────────────────────────────────────────────────────────────────────────────

    def _sweep_executions(self) -> None:
        policy = self._policy
        if policy.age is None and policy.count is None:
            return
        kept = store.kept(self._database)
        for page in self._candidates():
            roots = [
                root for root in page if root.id not in kept.roots and root.backfill_id not in kept.backfills
            ]
            if roots:
                self._delete(iter(store.trees(self._database, roots)))

    def _candidates(self) -> Iterator[Sequence[Any]]:
        if self._policy.age is not None:
            yield from store.old_roots(self._database, before=self._now - self._policy.age)
        if self._policy.count is not None:
            for task_id in store.crowded_tasks(self._database, self._policy.count):
                yield from store.surplus_roots(self._database, task_id, self._policy.count)

    def _delete(self, doomed: Iterator[Doomed]) -> None:
        while some := list(islice(doomed, self._size)):
            if self._dry_run:
                self._count_only([one for one in some if one.id not in self._counted])
                self._pause(0.0)
                continue
            gone, seconds = store.delete_executions(self._database, some)
            self._count(gone)
            for one in gone:
                self._note_logs(*log_files.remove_attempts(self._data_dir, one.id, one.attempts))
                self._touched.add(one.id // log_files.PER_FOLDER)
            self.swept.longest = max(self.swept.longest, seconds)
            self._size = round(min(MOST, max(FEWEST, self._size * min(2.0, HOLD / max(seconds, 1e-6)))))
            store.write_back(self._database)
            self._pause(seconds)

    def _count_only(self, doomed: Sequence[Doomed]) -> None:
        self._count(doomed)
        self._counted |= {one.id for one in doomed}
        for one in doomed:
            self._note_logs(*log_files.attempts_size(self._data_dir, one.id, one.attempts))

    def _count(self, gone: Sequence[Doomed]) -> None:
        self.swept.rows += len(gone)
        self.swept.executions += sum(one.id == one.root_id for one in gone)

    # ── logs ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _sweep_logs(self) -> None:
        if self._policy.logs is None:
            return
        before = self._now - self._policy.logs
        kept = store.kept(self._database).roots
        end = store.first_since(self._database, before)
        for folder in log_files.folders(self._data_dir):
            first = folder * log_files.PER_FOLDER
            if first >= end:
                return
            old = [
                file
                for file in log_files.logs_in(self._data_dir, folder)
                if file.execution_id < end and file.mtime < before
            ]
            if old:
                known = store.of_ids(self._database, first, first + log_files.PER_FOLDER - 1)
                for file in old:
                    root, active = known.get(file.execution_id, (0, False))
                    if root not in kept and not active and file.execution_id not in self._counted:
                        self._remove(file)
                self._touched.add(folder)
            self._pause(0.0)

    def _remove(self, file: log_files.LogFile) -> None:
        size = file.size if self._dry_run else log_files.remove(file.path)
        if size is not None:
            self._note_logs(1, size)

    def _note_logs(self, count: int, size: int) -> None:
        self.swept.logs += count
        self.swept.log_bytes += size

    def _drop_folders(self) -> None:
        """Empty ones, but not where an attempt may be about to open its log."""
        newest = store.last_execution(self._database) // log_files.PER_FOLDER - 1
        for folder in self._touched if not self._dry_run else ():
            if folder < newest:
                log_files.drop_folder(self._data_dir, folder)

    # ── small tables ────────────────────────────────────────────────────────────────────────────────────────────

    def _sweep_keys(self) -> None:
        while found := store.delete_keys(self._database, before=self._now - store.KEYS_KEPT, limit=LITTLE):
            self.swept.keys += found
            self._pause(HOLD)

    def _sweep_calls(self) -> None:
        calls.forget(self._database, before=self._now - HOUR)
        self._pause(0.0)

    def _sweep_backfills(self) -> None:
        for some in _pieces(store.empty_backfills(self._database)):
            self.swept.backfills += store.delete_backfills(self._database, some)
            self._pause(HOLD)

    def _sweep_tasks(self) -> None:
        if self._delete_tasks is None:
            return
        for some in _pieces(store.unused_adhoc_tasks(self._database, before=self._now - DAY)):
            self.swept.tasks += self._delete_tasks(some)
            self._pause(HOLD)

    def _sweep_audit(self, before: int) -> None:
        while found := store.delete_audit(self._database, before=before, limit=LITTLE):
            self.swept.audit += found
            self._pause(HOLD)

    def _sweep_ledger(self, before: int) -> None:
        after: int | None = self.after_entry
        while after is not None:
            self.after_entry = after
            found, after = store.skipped_entries(self._database, before=before, after=after)
            for some in _pieces(found):
                self.swept.ledger += store.delete_entries(self._database, some)
                self._pause(HOLD)
            self._pause(0.0)

    def _sweep_bundles(self, before: int) -> None:
        for digest in store.unused_bundles(self._database, before=before):
            if store.delete_bundle(self._database, digest):
                self.swept.bundles += 1
                shutil.rmtree(self._data_dir / "bundles" / digest, ignore_errors=True)
            self._pause(HOLD)

    def _pause(self, took: float) -> None:
        if not self._rest(max(LEAST_REST, REST * took)):
            raise Stopped


def _pieces(found: Sequence[int]) -> Iterator[Sequence[int]]:
    return (found[start : start + LITTLE] for start in range(0, len(found), LITTLE))


class Housekeeping:
    """Sweeps from time to time.

    Threads: one of its own, `housekeeping`, woken by its timer or by `wake`; `stop` ends it between two transactions. Start
    and stop may come twice, in any order.
    """

    def __init__(
        self,
        database: Database,
        data_dir: Path,
        policy: Policy,
        *,
        clock: Clock,
        delete_tasks: Callable[[Sequence[int]], int] | None = None,
        first_after: float = FIRST_AFTER,
        every: float = EVERY,
    ) -> None:
        self._database = database
        self._data_dir = data_dir
        self._policy = policy
        self._clock = clock
        self._delete_tasks = delete_tasks
        self._first_after = first_after
        self._every = every
        self._after_entry = 0
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._woken.clear()

    def wake(self) -> None:
        """Sweep now."""
        self._woken.set()

    def sweep(self) -> Swept:
        """One pass, in the caller's thread."""
        one = Sweep(
            self._database,
            self._data_dir,
            self._policy,
            now=self._clock.micros(),
            rest=lambda seconds: not self._stopping.wait(seconds),
            delete_tasks=self._delete_tasks,
            after_entry=self._after_entry,
        )
        swept = one.run()
        self._after_entry = one.after_entry
        return swept

    def _run(self) -> None:
        self._woken.wait(self._first_after)
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                swept = self.sweep()
            except Exception:
                log.exception("the history could not be cleaned up", extra={"action": "sweep_failed"})
            else:
                _tell(swept)
            if not self._stopping.is_set():
                self._woken.wait(self._every)


def hidden_tasks(engine: Engine) -> Callable[[Sequence[int]], int]:
    """Deletes hidden tasks in the engine's thread, where they get their executions: never one that this turn uses."""

    def delete(ids: Sequence[int]) -> int:
        return engine.call(
            lambda: store.delete_adhoc_tasks(
                engine.database, [task_id for task_id in ids if task_id not in engine.memory.archived]
            )
        )

    return delete


def _tell(swept: Swept) -> None:
    if swept.rows or swept.logs:
        log.info(
            "deleted %d executions (%d rows) and %d logs (%.1f MB); the longest transaction took %.1f ms",
            swept.executions,
            swept.rows,
            swept.logs,
            swept.log_bytes / 1e6,
            swept.longest * 1e3,
            extra={"action": "swept"},
        )
