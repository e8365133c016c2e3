"""Is this project well: its folders, token, database, server, runner and task files?"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from zquant_flow.cli.findings import Finding, State
from zquant_flow.cli.language import shown, t
from zquant_flow.client import Client, NoServer
from zquant_flow.config import Settings
from zquant_flow.core.model import TaskDef
from zquant_flow.errors import ZquantFlowError
from zquant_flow.runner.protocol import LOCK_FILE

_LITTLE, _TOO_LITTLE = 1 << 30, 100 << 20
"""Bytes of free disk space."""
_HORIZON = timedelta(days=60)


def findings(settings: Settings, *, mend: bool = False) -> Iterator[Finding]:
    """All checks of the project; with `mend` its records are set right."""
    if settings.data_dir.is_dir():
        yield _data_folder(settings.data_dir)
        yield from _token(settings)
        yield from _database(settings, mend=mend)
    else:
        yield Finding(
            check=t("data folder"),
            detail=t("{path} is not there yet; `serve` makes it", path=str(settings.data_dir)),
        )
    yield _space(settings.data_dir)
    yield _server(settings)
    yield _runner(settings.data_dir)
    yield from _tasks(settings)


def _data_folder(folder: Path) -> Finding:
    check, facts = t("data folder"), folder.stat()
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            check=check,
            state=State.PROBLEM,
            detail=t("{path} can't be written", path=str(folder)),
            way_out=t("run as its owner, or choose another with --data"),
        )
    mode = stat.S_IMODE(facts.st_mode)
    if mode & 0o077:
        return Finding(
            check=check,
            state=State.PROBLEM,
            detail=t("{path} is open to others (mode {mode})", path=str(folder), mode=f"{mode:04o}"),
            way_out=f"chmod 700 {folder}",
        )
    return Finding(check=check, detail=str(folder))


def _token(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir / "admin.token"
    if settings.admin_token or not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            check=t("token"),
            state=State.PROBLEM,
            detail=t("{path} is open to others (mode {mode})", path=str(path), mode=f"{mode:04o}"),
            way_out=t(
                "chmod 600 {path}, then delete it and start the server anew for another token", path=str(path)
            ),
        )
    else:
        yield Finding(check=t("token"), detail=t("admin.token, for its owner only"))


def _database(settings: Settings, *, mend: bool) -> Iterator[Finding]:
    from zquant_flow.store.database import HEAD
    from zquant_flow.store.health import damage_in, schema_found

    check = t("database")
    try:
        found = schema_found(settings.database)
    except ZquantFlowError as error:
        yield Finding(
            check=check,
            state=State.PROBLEM,
            detail=shown(error.detail),
            way_out=t(
                "check `database_url`, the file and its rights; `zquant-flow db restore FILE` brings back a backup"
            ),
        )
        return
    if found is None:
        yield Finding(check=check, detail=t("there is none yet; `serve` makes it"))
        return
    yield _schema(check, found, HEAD)
    damage = damage_in(settings.database)
    yield Finding(
        check=t("integrity"),
        state=State.PROBLEM if damage else State.OK,
        detail="; ".join(damage) or "ok",
        way_out=t(
            "stop the server and bring back a backup: `zquant-flow db restore FILE`; without one, `sqlite3 FILE .recover`"
        ),
    )
    if found == HEAD and not damage:
        from zquant_flow.cli import record_checks

        yield from record_checks.findings(settings, mend=mend)


def _schema(check: str, found: str, newest: str) -> Finding:
    if found == newest:
        return Finding(check=check, detail=t("schema {found}, the newest", found=found))
    if found < newest:
        return Finding(
            check=check,
            state=State.WARNING,
            detail=t("schema {found}, the newest is {newest}", found=found, newest=newest),
            way_out="zquant-flow db upgrade",
        )
    return Finding(
        check=check,
        state=State.PROBLEM,
        detail=t("schema {found} is newer than this zquant-flow ({newest})", found=found, newest=newest),
        way_out="pip install -U zquant-flow",
    )


def _space(folder: Path) -> Finding:
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    state = State.PROBLEM if free < _TOO_LITTLE else State.WARNING if free < _LITTLE else State.OK
    detail = t("{size} GB free", size=f"{free / 1e9:.1f}")
    return Finding(
        check=t("disk space"), state=state, detail=detail, way_out=t("make room, or move the data folder")
    )


def _server(settings: Settings) -> Finding:
    check = t("server")
    try:
        with Client.find(settings, timeout=5) as client:
            server = client.get_server()
    except NoServer as error:
        if not (settings.data_dir / "server.json").exists() and not _is_held(
            settings.data_dir / "serve.lock"
        ):
            return Finding(check=check, detail=t("none runs; `zquant-flow serve` starts it"))
        return Finding(
            check=check,
            state=State.WARNING,
            detail=shown(error.detail),
            way_out=t("wait until it is ready, or start it anew"),
        )
    except ZquantFlowError as error:
        return Finding(
            check=check,
            state=State.PROBLEM,
            detail=shown(error.detail),
            way_out=t("check its address, ZQUANT_FLOW_TOKEN and its log"),
        )
    return Finding(
        check=check, detail=t("{url} answers, version {version}", url=client.url, version=server.version)
    )


def _runner(folder: Path) -> Finding:
    """Whether its lock is held: to speak to it would take it from the server."""
    alive = _is_held(folder / LOCK_FILE)
    return Finding(check=t("runner"), detail=t("it runs") if alive else t("none runs; the server starts it"))


def _tasks(settings: Settings) -> Iterator[Finding]:
    check, folder = t("tasks folder"), settings.tasks_dir
    if not folder.is_dir():
        yield Finding(
            check=check,
            state=State.WARNING,
            detail=t("{path} is not there", path=str(folder)),
            way_out="zquant-flow init",
        )
        return
    from zquant_flow.cli.validate import load_folder
    from zquant_flow.definitions.registry import Registry, plan_change

    try:
        change = plan_change(Registry(), load_folder(folder))
    except (OSError, ZquantFlowError) as exc:
        yield Finding(
            check=check,
            state=State.PROBLEM,
            detail=shown(str(exc)),
            way_out=t("check the rights of {path}", path=str(folder)),
        )
        return
    errors = sum(map(len, change.errors.values()))
    yield Finding(
        check=check,
        state=State.PROBLEM if errors else State.OK,
        detail=t(
            "{path}: {tasks} tasks, {errors} errors",
            path=str(folder),
            tasks=len(change.claims),
            errors=errors,
        ),
        way_out="zquant-flow validate",
    )
    yield from _horizons(claim.loaded.task for claim in change.claims.values())


def _horizons(tasks: Iterable[TaskDef]) -> Iterator[Finding]:
    """How far the trading calendars reach that tasks use."""
    used = {getattr(task.schedule, "calendar", None) for task in tasks} - {None}
    for name in sorted(map(str, used)):
        check = t("calendar {name}", name=name)
        try:
            from exchange_calendars import get_calendar
        except ImportError:
            yield Finding(
                check=check,
                state=State.PROBLEM,
                detail=t("not installed"),
                way_out="pip install 'zquant-flow[calendars]'",
            )
            continue
        last = get_calendar(name).last_session.to_pydatetime().replace(tzinfo=UTC)
        yield Finding(
            check=check,
            state=State.WARNING if last < datetime.now(UTC) + _HORIZON else State.OK,
            detail=t("sessions are known until {day}", day=f"{last:%Y-%m-%d}"),
            way_out="pip install -U exchange_calendars",
        )


def _is_held(path: Path) -> bool:
    """Whether a process has that lock: by the kernel's list, for to try it could refuse it to a server that starts."""
    try:
        inode = path.stat().st_ino
        locks = Path("/proc/locks").read_text()
    except OSError:
        return False
    return any("FLOCK" in line and f":{inode} " in line for line in locks.splitlines())
