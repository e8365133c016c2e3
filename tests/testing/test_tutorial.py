"""The tutorial for plugin authors is followed to the letter: its files are written, its commands are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_new_plugin import environment, installed, python

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "plugin-tutorial.md", DOCS / "zh" / "plugin-tutorial.md"]


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each piece of code."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


class Reader:
    """Follows the page in a folder of its own, in an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venv = environment(folder / "venv")
        self.package = folder / "file-checksum"
        self.told: dict[str, str] = {}

    def follow(self, language: str, text: str) -> None:
        if language == "sh":
            for line in text.splitlines():
                self.run(line)
        elif language != "console":
            first, _, rest = text.partition("\n")
            path = self.package / first.removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rest if language == "csv" else text, encoding="utf-8")

    def run(self, line: str) -> None:
        words = line.split()
        if words[0] == "cd" or words[:3] == ["pip", "install", "hatchling"]:
            return
        if words[0] == "pip":
            self.build()
            (wheel,) = (self.package / "dist").glob("*.whl")
            installed(wheel, self.venv)
        elif words[0] == "pytest":
            self.told[line] = python(self.venv, "-m", "pytest", "-q", "-p", "zquant_flow", cwd=self.package)
        elif words[0] == "python":
            self.told[line] = python(self.venv, *words[1:], cwd=self.package)
        else:
            assert words[0] == "zqf", f"what is {line!r}?"
            cwd = self.package / "project" if words[1] == "run" else self.folder
            self.told[line] = python(self.venv, "-m", "zquant_flow", *words[1:], cwd=cwd)

    def build(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=self.package, check=True
        )


def test_the_tutorial_leads_to_a_package_that_works(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    for language, text in blocks(PAGES[0]):
        reader.follow(language, text)
    assert "9 passed, 6 skipped" in reader.told["pytest"]
    assert "success" in reader.told["zqf run quotes"]
    assert list((tmp_path / "file-checksum" / "dist").glob("file_checksum-0.1.0-*.whl"))


def test_its_executor_has_at_most_15_lines() -> None:
    (code,) = (text for language, text in blocks(PAGES[0]) if text.startswith("# file_checksum/"))
    executor = code[code.index("class Checksum") :]
    assert len([line for line in executor.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("number", range(len(PAGES)))
def test_both_languages_have_the_same_code(number: int) -> None:
    assert blocks(PAGES[number]) == blocks(PAGES[0])
