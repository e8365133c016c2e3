"""What does this machine give a scheduler: Python, SQLite, time zones, file events, stray processes, calendars?"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, available_timezones

from zquant_flow.cli.findings import Finding, State
from zquant_flow.cli.language import t
from zquant_flow.config import Settings, machine_zone_name

_OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""
_FEW_WATCHES, _FEW_INSTANCES = 8_192, 64
_INOTIFY = Path("/proc/sys/fs/inotify")


def findings(settings: Settings) -> Iterator[Finding]:
    """All checks of the machine."""
    yield _python()
    yield _sqlite()
    yield _zone(settings)
    yield _zone_data()
    yield from _file_events(settings)
    yield _strays()
    yield _calendars()


def _python() -> Finding:
    """Pip has seen to its age."""
    name = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    return Finding(check="Python", detail=name)


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        return Finding(
            check="SQLite",
            state=State.PROBLEM,
            detail=sqlite3.sqlite_version,
            way_out=t("a Python with SQLite 3.35 or newer, or PostgreSQL by `database_url`"),
        )
    return Finding(check="SQLite", detail=sqlite3.sqlite_version)


def _zone(settings: Settings) -> Finding:
    check = t("time zone")
    if settings.timezone:
        return Finding(check=check, detail=t("{zone}, by the setting `timezone`", zone=settings.timezone))
    name = machine_zone_name()
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return Finding(
            check=check,
            state=State.WARNING,
            detail=t("the machine's zone {zone!r} is not known", zone=name),
            way_out=t("set `timezone` in zquant-flow.toml, such as Asia/Shanghai"),
        )
    return Finding(check=check, detail=t("{zone}, the machine's", zone=name))


def _zone_data() -> Finding:
    check = t("zone data")
    system = [path for path in TZPATH if os.path.isdir(path)]
    try:
        package = f"tzdata {metadata.version('tzdata')}"
    except metadata.PackageNotFoundError:
        package = ""
    if not available_timezones():
        return Finding(
            check=check, state=State.PROBLEM, detail=t("there is none"), way_out="pip install tzdata"
        )
    return Finding(check=check, detail=", ".join([*system, package] if package else system))


def _file_events(settings: Settings) -> Iterator[Finding]:
    """The kernel's limits for events of files, against the folders that are to be watched."""
    if not sys.platform.startswith("linux"):
        return
    check = t("file events")
    try:
        watches = int((_INOTIFY / "max_user_watches").read_text())
        instances = int((_INOTIFY / "max_user_instances").read_text())
    except (OSError, ValueError):
        yield Finding(
            check=check,
            state=State.WARNING,
            detail=t("the limits of inotify can't be read"),
            way_out=t("if changes of files are seen late, look into the server's log"),
        )
        return
    needed = sum(1 for _ in os.walk(settings.tasks_dir))
    few = watches < max(_FEW_WATCHES, 2 * needed) or instances < _FEW_INSTANCES
    yield Finding(
        check=check,
        state=State.WARNING if few else State.OK,
        detail=t("inotify: {watches} watches, {instances} instances", watches=watches, instances=instances),
        way_out=t("sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"),
    )


def _strays() -> Finding:
    """What finds the processes that a command leaves behind (zquant_flow/runner/strays.py)."""
    from zquant_flow.runner.strays import become_subreaper

    check = t("stray processes")
    listed = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
    if become_subreaper() and listed:
        return Finding(check=check, detail=t("found also outside of their group (subreaper)"))
    return Finding(
        check=check,
        state=State.WARNING,
        detail=t("only those in the process group of a command are ended"),
        way_out=t("let commands not start daemons; on Linux, a kernel with /proc/PID/task/TID/children"),
    )


def _calendars() -> Finding:
    check = t("trading calendars")
    try:
        version = metadata.version("exchange_calendars")
    except metadata.PackageNotFoundError:
        return Finding(
            check=check,
            detail=t("not installed; `pip install 'zquant-flow[calendars]'` where tasks need them"),
        )
    return Finding(check=check, detail=f"exchange_calendars {version}")
