"""How does a project, or a file in it, begin? With what can be read and run; nothing that is there is touched."""

from __future__ import annotations

import sys
from pathlib import Path

from zquant_flow.cli import starters
from zquant_flow.cli.language import t
from zquant_flow.config import settings_around
from zquant_flow.definitions.forms import check_name
from zquant_flow.definitions.scan import is_task_path
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say, spoken


def begin(folder: Path) -> None:
    """A folder with settings and an example, as far as it has none."""
    try:
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise _refused(folder / "tasks", exc) from exc
    has_tasks = any(is_task_path(path.name) for path in (folder / "tasks").rglob("*"))
    if has_tasks:
        sys.stdout.write(t("kept    {path}: it has task files", path=str(folder / "tasks")) + "\n")
    else:
        _offer(folder / "tasks" / "hello.yaml", starters.HELLO)
    _offer(folder / "zquant-flow.toml", starters.SETTINGS)
    place = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    sys.stdout.write(t("next: {command}", command=f"{place}zquant-flow serve") + "\n")


def new_file(kind: str, name: str, *, python: bool, folder: Path | None) -> Path:
    """Write the file of a new task or workflow. Raises BadRequest where it is there already, or the name can't be."""
    try:
        name = check_name(name)
    except ValueError as exc:
        raise BadRequest(spoken(exc)) from exc
    place = folder or settings_around().tasks_dir
    if python:
        path = place / f"{starters.module(kind, name)}.py"
        text = starters.python_text(kind, name, _shown(path))
    else:
        path = place / f"{starters.slug(name)}.yaml"
        text = starters.yaml_text(kind, name)
    _write(path, text)
    sys.stdout.write(t("made    {path}", path=_shown(path)) + "\n")
    return path


def _offer(path: Path, text: str) -> None:
    if path.exists():
        sys.stdout.write(t("kept    {path}: it is there", path=_shown(path)) + "\n")
        return
    _write(path, text)
    sys.stdout.write(t("made    {path}", path=_shown(path)) + "\n")


def _write(path: Path, text: str) -> None:
    """Only if it is not there, whoever else may be about to make it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadRequest(say("{path} is there already; choose another name", path=_shown(path))) from None
    except OSError as exc:
        raise _refused(path, exc) from exc


def _refused(path: Path, exc: OSError) -> BadRequest:
    return BadRequest(say("{path} can't be written: {reason}", path=str(path), reason=exc.strerror))


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
