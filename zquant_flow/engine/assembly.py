"""How is a whole scheduler put together from its settings? The one place where the real parts meet."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import IO

from zquant_flow.clock import SystemClock
from zquant_flow.config import Settings
from zquant_flow.engine.ahead import Ahead, lock_data_folder
from zquant_flow.engine.authored import Authored
from zquant_flow.engine.folder import TasksFolder
from zquant_flow.engine.housekeeping import Housekeeping, Policy, hidden_tasks
from zquant_flow.engine.operations import Operations
from zquant_flow.engine.service import Engine
from zquant_flow.executors.installed import executor_classes
from zquant_flow.store.clock import DatabaseClock
from zquant_flow.store.database import Database


@dataclass(slots=True)
class Scheduler:
    """All parts but the API; started and stopped as one."""

    settings: Settings
    database: Database
    engine: Engine
    operations: Operations
    folder: TasksFolder
    authored: Authored
    housekeeping: Housekeeping
    _lock: IO[str] | None = None

    def start(self) -> None:
        """Take the data folder, start the engine, load the tasks folder. Raises DataFolderInUse."""
        self.start_engine()
        self.folder.start()
        self.housekeeping.start()
        # What was made until here stays: the collector need not look at it again with every thousand new objects.
        gc.collect()
        gc.freeze()

    def start_engine(self) -> None:
        """The engine alone: for one run, without a watched folder."""
        if self._lock is None:
            self._lock = lock_data_folder(self.settings)
        self.engine.start()

    def stop(self, *, keep_attempts: bool = False) -> None:
        """Stop in the opposite order; safe to call twice."""
        self.housekeeping.stop()
        self.folder.stop()
        self.engine.stop(keep_attempts=keep_attempts)
        self.database.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def assemble(
    settings: Settings,
    *,
    watch: bool = True,
    fires: bool = True,
    rests: bool = False,
    ahead: Ahead | None = None,
) -> Scheduler:
    """The parts, made and not started.

    Without `fires` no schedule fires; without `watch` the folder is read once; one that `rests` keeps tasks and looks at no
    execution.
    """
    ahead = ahead or Ahead.of(settings)
    database = Database(settings.database)
    engine = Engine(
        database=database,
        backend=ahead.backend.attach,
        clock=SystemClock() if database.is_sqlite else DatabaseClock(SystemClock(), database),
        lease=None if database.is_sqlite or rests else settings.lease_seconds,
        tasks_dir=settings.tasks_dir,
        data_dir=settings.data_dir,
        zone=settings.zone,
        slots=settings.thread_pool_size,
        entries={name: cls.entry() for name, cls in executor_classes().items()},
        shutdown_grace=settings.shutdown_grace,
        fires=fires,
        rests=rests,
    )
    operations = Operations(engine)
    folder = TasksFolder(ahead.loader, settings.tasks_dir, operations, database, watch=watch)
    return Scheduler(
        settings=settings,
        database=database,
        engine=engine,
        operations=operations,
        folder=folder,
        authored=Authored(operations, folder),
        housekeeping=Housekeeping(
            database,
            settings.data_dir,
            Policy.of(settings),
            clock=SystemClock(),
            delete_tasks=hidden_tasks(engine),
        ),
        _lock=ahead.lock,
    )
