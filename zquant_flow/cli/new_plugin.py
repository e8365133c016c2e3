"""How does a plugin begin? As a package that pip installs, with an executor and tests of it."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path

from zquant_flow.cli.language import t
from zquant_flow.cli.plugin_starters import files_of
from zquant_flow.errors import BadRequest
from zquant_flow.wording import say

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
"""Names of distributions (the core metadata specification of Python packages)."""


def new_plugin(name: str, *, folder: Path | None) -> Path:
    """Write the package into a folder of its name. Raises BadRequest where that is there, or the name can't be."""
    module = _module_of(name)
    words = re.split(r"[-_.]+", name.lower())
    executor = "-".join(words)
    _refuse_taken(name, module, executor)
    root = (folder or Path.cwd()) / name
    try:
        root.mkdir(parents=True)
        for path, text in files_of(
            name=name, module=module, executor=executor, cls="".join(map(str.capitalize, words))
        ):
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise BadRequest(say("{path} is there already; choose another name", path=str(root))) from None
    except OSError as exc:
        raise BadRequest(
            say("{path} can't be written: {reason}", path=str(root), reason=exc.strerror)
        ) from exc
    sys.stdout.write(t("made    {path}", path=f"{_shown(root)}/") + "\n")
    command = f'cd {_shown(root)} && pip install -e ".[test]" && pytest'
    sys.stdout.write(t("next: {command}", command=command) + "\n")
    return root


def _module_of(name: str) -> str:
    """What is imported: the name in lower case, `_` for `-` and `.`. Raises BadRequest."""
    module = re.sub(r"[-_.]+", "_", name).lower()
    if not _NAME.fullmatch(name) or not module.isidentifier() or keyword.iskeyword(module):
        raise BadRequest(
            say(
                "{name!r} can't be the name of a package: letters, digits and `-` between them, a letter first, such as market-checks",
                name=name,
            )
        )
    return module


def _refuse_taken(name: str, module: str, executor: str) -> None:
    from zquant_flow.executors.installed import built_in

    if executor in built_in().executors:
        raise BadRequest(say("the executor {name!r} is built in; choose another name", name=executor))
    if module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise BadRequest(
            say(
                "a module {module} is installed already; choose another name than {name!r}",
                module=module,
                name=name,
            )
        )


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
