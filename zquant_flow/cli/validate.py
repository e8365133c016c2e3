"""What is wrong with these task files?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from zquant_flow.calendars.provider import Calendars
from zquant_flow.cli.language import shown, t
from zquant_flow.cli.listing import listing
from zquant_flow.config import Settings, load_settings
from zquant_flow.core.model import TaskDef
from zquant_flow.core.schedule import Times
from zquant_flow.definitions.calendars import Known, calendars_of
from zquant_flow.definitions.loader import LoadedFile, Loader, LoadError
from zquant_flow.definitions.registry import Registry, plan_change
from zquant_flow.definitions.scan import scan
from zquant_flow.errors import BadRequest
from zquant_flow.plugin.sources import Sources
from zquant_flow.wording import say


def validate(paths: Sequence[Path], *, tasks_dir: Path | None, as_json: bool) -> int:
    """Load everything under `paths`, or the tasks folder; 0 if all is well, 2 if anything is wrong."""
    settings = load_settings(tasks_dir=tasks_dir)
    folder = settings.tasks_dir
    groups = _groups(paths, folder)
    found: list[tuple[Path, str, LoadError]] = []
    tasks: list[TaskDef] = []
    calendars = calendars_here(settings)
    calendars.ensure_files()
    for root, chosen in groups.items():
        files = load_folder(root, chosen)
        if chosen is None:
            found += [
                (root, path, LoadError(line=1, column=1, field="", code="skipped", message=why))
                for path, why in sorted(scan(root).skipped.items())
            ]
        calendars.ensure(
            {name for file in files for item in file.definitions for name in calendars_of(item.task)}
        )
        times = Times(zone=settings.zone, calendars=calendars.known)
        change = plan_change(Registry(), files, known=Known(times=times, faults=calendars.faults))
        tasks += (claim.loaded.task for claim in change.claims.values())
        found += [(root, path, error) for path in sorted(change.errors) for error in change.errors[path]]
    found += [(settings.calendars_dir, path, error) for path, error in _of_files(calendars)]
    if as_json:
        _print_json(found, len(tasks))
    else:
        _print(found, listing(tasks, settings.zone), len(tasks))
    return 2 if found else 0


def calendars_here(settings: Settings) -> Calendars:
    """The trading calendars of this project; kept in its data folder, where that is there."""
    data_dir = settings.data_dir if settings.data_dir.is_dir() else None
    return Calendars(data_dir, settings.calendars_dir, plugins=lambda: Sources.of(settings))


def _of_files(calendars: Calendars) -> list[tuple[str, LoadError]]:
    """What is wrong with local calendars."""
    return [
        (
            fault.path,
            LoadError(
                line=fault.line,
                column=fault.column,
                field=fault.field,
                code=fault.code,
                message=fault.message,
            ),
        )
        for _, fault in sorted(calendars.faults.items())
        if fault.path is not None
    ]


def load_folder(folder: Path, chosen: Sequence[str] | None = None) -> list[LoadedFile]:
    """All files of a tasks folder (or the chosen ones), read in the loader process."""
    if not folder.is_dir():
        raise BadRequest(
            say("there is no folder {folder}; make it, or name another with --tasks", folder=str(folder))
        )
    loader = Loader(folder, plugins=Sources.of(load_settings()))
    loader.start()
    try:
        return list(loader.load(sorted(chosen if chosen is not None else scan(folder).files)))
    finally:
        loader.stop()


def _groups(paths: Sequence[Path], folder: Path) -> dict[Path, list[str] | None]:
    """What to load, by the folder it stands in."""
    if not paths:
        return {folder: None}
    groups: dict[Path, list[str] | None] = {}
    for path in paths:
        if path.is_dir():
            groups[path.resolve()] = None
        elif path.exists():
            real = path.absolute()
            root = folder if real.is_relative_to(folder) else real.parent
            chosen = groups.setdefault(root, [])
            if chosen is not None:
                chosen.append(real.relative_to(root).as_posix())
        else:
            raise BadRequest(say("{path} does not exist", path=str(path)))
    return groups


def _print(found: Sequence[tuple[Path, str, LoadError]], lines: Sequence[str], tasks: int) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    for root, path, error in found:
        sys.stdout.write(f"{_shown(root / path)}:{error.line}:{error.column}: {shown(error.message)}\n")
    sys.stdout.write(f"{_verdict(tasks, len(found))}\n")


def _verdict(tasks: int, errors: int) -> str:
    counted = t("1 task") if tasks == 1 else t("{count} tasks", count=tasks)
    if not errors:
        return t("{tasks}, no errors", tasks=counted)
    if errors == 1:
        return t("{tasks}, 1 error", tasks=counted)
    return t("{tasks}, {errors} errors", tasks=counted, errors=errors)


def _print_json(found: Sequence[tuple[Path, str, LoadError]], tasks: int) -> None:
    errors = [
        {
            "path": _shown(root / path),
            "line": error.line,
            "column": error.column,
            "field": error.field,
            "code": error.code,
            "message": error.message,
        }
        for root, path, error in found
    ]
    sys.stdout.write(json.dumps({"tasks": tasks, "errors": errors}, ensure_ascii=False) + "\n")


def _shown(path: Path) -> str:
    """The path as people type it: from here where it is below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
