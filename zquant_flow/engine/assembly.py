"""How is a whole scheduler put together from its settings? The one place where the real parts meet."""

from __future__ import annotations

import gc
import logging
import threading
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from zquant_flow.calendars.provider import Calendars
from zquant_flow.clock import SystemClock
from zquant_flow.config import Settings
from zquant_flow.engine.ahead import Ahead, Locks, lock_data_folder
from zquant_flow.engine.authored import Authored
from zquant_flow.engine.drift import Drift
from zquant_flow.engine.filewatch import FileWatch
from zquant_flow.engine.folder import TasksFolder
from zquant_flow.engine.housekeeping import Housekeeping, Policy, hidden_tasks
from zquant_flow.engine.mirror import Mirror
from zquant_flow.engine.notifying import Notifying, links
from zquant_flow.engine.operations import Operations
from zquant_flow.engine.plugged import Plugged
from zquant_flow.engine.service import Engine
from zquant_flow.notifiers.channels import Channels
from zquant_flow.store.clock import DatabaseClock
from zquant_flow.store.database import UNREADABLE, Database
from zquant_flow.store.notices import Notices

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Scheduler:
    """All parts but the API; started and stopped as one.

    Of several that share a database only the one that leads reads its tasks folder and deletes old history; the others
    compare their folders with what is registered. One that comes to lead later takes these duties in a thread of its own.
    """

    settings: Settings
    database: Database
    engine: Engine
    operations: Operations
    folder: TasksFolder
    authored: Authored
    plugged: Plugged
    housekeeping: Housekeeping
    drift: Drift
    files: FileWatch | None
    notices: Notices
    channels: Channels
    _lock: Locks | None = None
    _heir: threading.Thread | None = None
    _duties: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Take the data folder, start the engine, load the tasks folder.

        Raises DataFolderInUse, and Unavailable for a database that can't be used.
        """
        self.engine.on_leading = self._come_to_lead
        self.start_engine()
        try:
            self.plugged.start()
            if self.engine.leads:
                self._take_duties()
            else:
                self.drift.start()
        except DBAPIError as exc:
            raise self.database.unusable(exc) from exc
        # What was made until here stays: the collector need not look at it again with every thousand new objects.
        gc.collect()
        gc.freeze()

    def start_api(self) -> None:
        """Nothing but what an API needs: the database, and news of what others commit."""
        try:
            self.database.open()
        except DBAPIError as exc:
            raise self.database.unusable(exc) from exc
        self.notices.start()

    def _come_to_lead(self) -> None:
        self._heir = threading.Thread(target=self._take_duties, name="heir", daemon=True)
        self._heir.start()

    def _take_duties(self) -> None:
        with self._duties:
            self.drift.stop()
            try:
                self.folder.start()
            except Exception:
                log.exception("the tasks folder can't be watched", extra={"action": "folder_failed"})
                raise
            self.housekeeping.start()
            if self.files is not None:
                self.engine.listen(self.files.committed)
                self.files.start()
            self.engine.calendars.on_change = self.engine.take_calendars
            self.engine.calendars.start()
        log.info("the tasks folder %s counts", self.settings.tasks_dir, extra={"action": "duties_taken"})

    def start_engine(self) -> None:
        """The engine alone: for one run, without a watched folder."""
        if self._lock is None:
            self._lock = lock_data_folder(self.settings)
        try:
            self.engine.start()
        except UNREADABLE as exc:
            raise self.database.unusable(exc) from exc
        self.notices.start()

    def stop(self, *, keep_attempts: bool = False) -> None:
        """Stop in the opposite order; safe to call twice."""
        if self._heir is not None:
            self._heir.join()
        self.notices.stop()
        self.plugged.stop()
        if self.files is not None:
            self.files.stop()
        self.drift.stop()
        self.housekeeping.stop()
        self.engine.calendars.stop()
        self.folder.stop()
        self.engine.stop(keep_attempts=keep_attempts)
        self.channels.stop()
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
    plugged = Plugged(ahead.plugins, folder=settings.plugins_dir, data_dir=settings.data_dir)
    engine = Engine(
        database=database,
        backend=ahead.backend.attach,
        clock=SystemClock() if database.is_sqlite else DatabaseClock(SystemClock(), database),
        lease=None if database.is_sqlite else settings.lease_seconds,
        item_limit=settings.for_each_limit,
        tasks_dir=settings.tasks_dir,
        data_dir=settings.data_dir,
        zone=settings.zone,
        slots=settings.thread_pool_size,
        pools=settings.pools,
        plugins=lambda: plugged.current,
        shutdown_grace=settings.shutdown_grace,
        fires=fires,
        rests=rests,
        calendars=Calendars(settings.data_dir, settings.calendars_dir, plugins=lambda: plugged.sources),
    )
    notices = Notices(database)
    notices.listen(engine.hear)
    operations = Operations(engine)
    mirror = Mirror(database, settings.tasks_dir, engine)
    folder = TasksFolder(
        ahead.loader,
        settings.tasks_dir,
        operations,
        database,
        mirror,
        watch=watch,
        judged=plugged.judges,
    )
    channels = Channels(
        settings.notify,
        data_dir=settings.data_dir,
        language=settings.locale,
        zone=settings.zone,
        link=links(settings),
    )
    channels.use(plugged.current.notifiers)
    if channels.names:
        engine.observing.own = {"notifying": Notifying(channels, engine, operations, database).hooks}
    engine.observing.on_off = plugged.switch_off
    engine.observing.use(plugged.current)
    plugged.on_change += [
        engine.take_plugins,
        lambda: channels.use(plugged.current.notifiers),
        lambda: engine.observing.use(plugged.current),
        lambda: folder.use_plugins(plugged.sources, judge=plugged.judges),
    ]
    return Scheduler(
        settings=settings,
        database=database,
        engine=engine,
        operations=operations,
        folder=folder,
        authored=Authored(operations, folder, plugged),
        plugged=plugged,
        housekeeping=Housekeeping(
            database,
            settings.data_dir,
            Policy.of(settings),
            clock=SystemClock(),
            delete_tasks=hidden_tasks(engine),
        ),
        notices=notices,
        channels=channels,
        files=FileWatch(operations, database, settings.tasks_dir, SystemClock(), now=engine.now)
        if watch and fires
        else None,
        drift=Drift(database, settings.tasks_dir, engine, mirror),
        _lock=ahead.lock,
    )
