"""How does one task run in the foreground?

With a live server the run is handed over and followed; without one the data folder is taken, and history is recorded as
usual, but no schedule fires meanwhile. `--ephemeral`, and files outside of the tasks folder, use a folder that is thrown away.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from zquant_flow.cli.logs import print_logs
from zquant_flow.cli.params import params_of
from zquant_flow.cli.runs import Runs, choose, fault_at
from zquant_flow.cli.tree import follow
from zquant_flow.config import Settings, load_settings
from zquant_flow.core.status import FINAL
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say

_POLL_SECONDS = 0.1


def run(
    target: str,
    given: Sequence[str],
    *,
    tasks_dir: Path | None,
    data_dir: Path | None,
    ephemeral: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Run, show, and return the exit code: 0 it succeeded, 1 it did not, 130 it was interrupted."""
    params = params_of(given)
    settings = load_settings(tasks_dir=tasks_dir, data_dir=data_dir, thread_pool_size=threads)
    path = Path(target)
    is_file = path.suffix in (".yaml", ".yml", ".py") and path.is_file()
    if is_file and not path.absolute().is_relative_to(settings.tasks_dir):
        settings = load_settings(
            tasks_dir=path.absolute().parent, data_dir=data_dir, thread_pool_size=threads
        )
        ephemeral = ephemeral or data_dir is None
    runs, name = _open(settings, path if is_file else None, target, ephemeral)
    try:
        return _run(runs, name, params, as_json)
    finally:
        runs.close()


def _run(runs: Runs, name: str, params: dict[str, Any], as_json: bool) -> int:
    execution_id = runs.trigger(name, params)
    show: Callable[[dict[str, Any]], None]
    with follow(name, quiet=as_json) as show:
        try:
            execution = _until_final(runs, execution_id, show)
        except KeyboardInterrupt:
            runs.terminate(execution_id)
            _until_final(runs, execution_id, show)
            return 130
    if as_json:
        sys.stdout.write(json.dumps(execution, default=datetime.isoformat, ensure_ascii=False) + "\n")
    else:
        print_logs(execution, runs.log)
    return 0 if execution["status"] == "success" else 1


def _until_final(runs: Runs, execution_id: int, show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    execution: dict[str, Any] = {}
    for execution in runs.states(execution_id):
        show(execution)
    return execution


def _open(settings: Settings, path: Path | None, target: str, ephemeral: bool) -> tuple[Runs, str]:
    runs: Runs | None = None
    if not ephemeral and (settings.data_dir / "server.json").exists():
        from zquant_flow.cli.remote import Remote

        runs = Remote.find(settings)
    if runs is None:
        runs = Local(settings, ephemeral=ephemeral)
    try:
        return runs, runs.name_of(path, target)
    except BaseException:
        runs.close()
        raise


class Local:
    """A scheduler of our own, in this process, for this one run."""

    def __init__(self, settings: Settings, *, ephemeral: bool) -> None:
        from zquant_flow.engine.assembly import assemble

        self._scratch = Path(tempfile.mkdtemp(prefix="zquant-flow-")) if ephemeral else None
        if self._scratch is not None:
            settings = settings.model_copy(update={"data_dir": self._scratch, "database_url": ""})
        self._settings = settings
        self._scheduler = assemble(settings, watch=False, fires=False)
        self._scheduler.start_engine()

    def name_of(self, path: Path | None, target: str) -> str:
        """Load the file, or the folder, and find the task that is meant. Raises BadRequest."""
        scheduler = self._scheduler
        if path is None:
            scheduler.folder.load_all()
        else:
            scheduler.folder.load_now([path.absolute().relative_to(self._settings.tasks_dir).as_posix()])
        registry = scheduler.operations.registry
        if path is None:
            if target not in registry.by_name:
                folder = str(self._settings.tasks_dir)
                raise BadRequest(say("no task is named {name!r} in {folder}", name=target, folder=folder))
            return target
        relative = path.absolute().relative_to(self._settings.tasks_dir).as_posix()
        for error in registry.errors.get(relative, ()):
            raise BadRequest(fault_at(str(path), error.line, error.column, error.message))
        names = registry.names_of.get(relative, ())
        workflows = [name for name in names if registry.by_name[name].definition.workflow is not None]
        return choose(path, names, workflows)

    def trigger(self, name: str, params: dict[str, Any]) -> int:
        operations = self._scheduler.operations
        return operations.trigger(operations.registry.by_name[name].id, actor="cli", params=params)

    def states(self, execution_id: int) -> Iterator[dict[str, Any]]:
        while (execution := self._execution(execution_id))["status"] not in FINAL:
            yield execution
            self._scheduler.engine.wait_for_commit(_POLL_SECONDS)
        yield execution

    def _execution(self, execution_id: int) -> dict[str, Any]:
        from zquant_flow.api.shapes import execution_out
        from zquant_flow.store import queries

        row = queries.execution_row(self._scheduler.database, execution_id)
        children = queries.children_of(self._scheduler.database, row)
        return {**execution_out(row), "children": [execution_out(child) for child in children]}

    def log(self, execution_id: int, attempt: int) -> str:
        from zquant_flow.logs import log_path, read

        return read(log_path(self._settings.data_dir, execution_id, attempt), 0, 1 << 20)[0].decode(
            errors="replace"
        )

    def terminate(self, execution_id: int) -> None:
        self._scheduler.operations.terminate(execution_id, actor="cli")

    def close(self) -> None:
        self._scheduler.stop()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
