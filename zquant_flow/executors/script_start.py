"""Which program runs this script? `python -I -S script_start.py CONFIG` becomes it.

The interpreter itself where nothing is to be installed; uv where the script has a header with dependencies (PEP 723),
where the task names requirements, and for a version of Python. Imports nothing of ours, so that it starts in no time.
"""

from __future__ import annotations

import json
import os
import re
import sys

BAD_USE, NOT_FOUND = 2, 127
VERSION = re.compile(r"(?:c?python|pypy)?[@<>=~!]*\d+(?:\.\d+)*")
"""What uv takes for a version: `3.12`, `>=3.11`, `pypy3.10`; a path is none."""
HEADER = re.compile(r"^# /// script$\s(?:^#(?:| .*)$\s)+^# ///$", re.MULTILINE)
"""A block of inline metadata."""


class CannotStart(Exception):
    """The script can't be started; `exit_code` as shells have it."""

    def __init__(self, detail: str, exit_code: int) -> None:
        super().__init__(detail)
        self.exit_code = exit_code


def command_of(
    *, file: str, args: list[str], python: str | None, requirements: list[str], uv_args: list[str]
) -> list[str]:
    """The words that run the script; raises CannotStart."""
    text = _text(file)
    version = python is not None and VERSION.fullmatch(python) is not None
    if not (version or requirements or HEADER.search(text)):
        return [python or sys.executable, file, *args]
    words = [_uv(), "run", "--no-project"]
    if python is not None:
        words += ["--python", python]
    for requirement in requirements:
        words += ["--with", requirement]
    return [*words, *uv_args, "--script", file, *args]


def _text(file: str) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read()
    except OSError as exc:
        raise CannotStart(
            f"the script {file} can't be read in {os.getcwd()}: {exc.strerror}", BAD_USE
        ) from exc


def _uv() -> str:
    import shutil

    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    found = beside if os.access(beside, os.X_OK) else shutil.which("uv")
    if found is None:
        raise CannotStart(
            'this script needs uv, which is not here: pip install "zquant-flow[script]"', NOT_FOUND
        )
    return found


def main() -> None:
    """Become the script, or say why not."""
    words: list[str] = []
    try:
        words = command_of(**json.loads(sys.argv[1]))
        os.execvp(words[0], words)  # noqa: S606  (these are words, not a shell's text)
    except CannotStart as refusal:
        detail, code = str(refusal), refusal.exit_code
    except OSError as exc:
        detail, code = f"{words[0]} can't be started: {exc.strerror}", NOT_FOUND
    sys.stderr.write(f"{detail}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
