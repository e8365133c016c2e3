"""SCORECARD D2: whatever text is a body or a task file, nothing crashes, no answer is a 500, and the files beside it load.

Texts of our own making; and those of the public suites where they are there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.sender import BODIES, Sender
from tests.fuzz.texts import json_text, yaml_text
from tests.shared_data import DATA, needs
from zquant_flow.definitions.loader import LoadedFile, Loader

COUNT = int(os.environ.get("ZQUANT_FLOW_TEST_TEXTS", "300"))
SEED = int(os.environ.get("ZQUANT_FLOW_TEST_SEED", "1"))
GOOD = b'name: good\ncron: "0 18 * * 1-5"\ncommand: "true"\n'
ACCEPTED = {"n_number_minus_infinity", "n_number_NaN", "n_number_infinity"}


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loader, Path]]:
    folder = tmp_path_factory.mktemp("tasks")
    made = Loader(folder, yaml_timeout=20)
    yield made, folder
    made.stop()


def loaded(loader: tuple[Loader, Path], texts: Mapping[str, bytes]) -> Sequence[LoadedFile]:
    """What becomes of these as task files, between two good ones that load whatever stands beside them."""
    made, folder = loader
    paths = ["first.yaml", *(f"{name}.yaml" for name in texts), "last.yaml"]
    for path, content in zip(paths, [GOOD, *texts.values(), GOOD], strict=True):
        (folder / path).write_bytes(content)
    found = list(made.load(paths))
    assert [file.path for file in found] == paths
    for good in (found[0], found[-1]):
        assert [item.task.name for item in good.definitions] == ["good"]
    for file in found:
        assert not (file.errors and file.definitions), file.path
        for error in file.errors:
            assert error.message and error.line >= 1, file.path
            assert error.code not in ("load_crashed", "load_timeout"), (file.path, error)
    return found[1:-1]


def test_made_texts_as_task_files_are_definitions_or_errors_at_a_line(loader: tuple[Loader, Path]) -> None:
    chance = Random(SEED)
    texts = {f"t{number}": (yaml_text if number % 3 else json_text)(chance) for number in range(COUNT)}
    begin = time.monotonic()
    found = loaded(loader, texts)
    assert time.monotonic() - begin < 5 + COUNT / 10
    assert any(file.definitions for file in found)
    assert sum(bool(file.errors) for file in found) > COUNT / 2


def test_made_texts_as_bodies_are_answered_with_less_than_500(sender: Sender) -> None:
    """Whole bodies, and as the value of a word where any value may stand."""
    chance, paths = Random(SEED), list(BODIES)
    for number in range(COUNT):
        method, path = paths[number % len(paths)]
        sender.send(method, path, json_text(chance))
        sender.send("POST", "/workflow/validate", b'{"tasks": ' + json_text(chance) + b"}")
        sender.send(
            "POST", "/executions", b'{"definition": {"name": "a", "params": ' + json_text(chance) + b"}}"
        )


# ── public suites ────────────────────────────────────────────────────────────────────────────────────────────────


def suite(name: str, pattern: str) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((DATA / name).glob(pattern))}


@needs("JSONTestSuite")
def test_the_json_test_suite_as_bodies(sender: Sender) -> None:
    """Alone; and as a value, where what must be accepted is, and what must be refused is refused."""
    texts = suite("JSONTestSuite", "*.json")
    assert len(texts) > 300
    for name, text in texts.items():
        sender.refused("POST", "/tasks", text)
        answer = sender.send("POST", "/tasks/{id}/trigger", b'{"params": {"v": ' + text + b"}}")
        if name.startswith("n_") and name not in ACCEPTED:
            assert 400 <= answer.status_code < 500, (name, answer.text)
        elif name.startswith("y_"):
            refused_by_us = b"\\u0000" in text  # no database keeps it
            assert answer.is_success or refused_by_us, (name, answer.text)


@needs("JSONTestSuite")
def test_the_json_test_suite_as_task_files(loader: tuple[Loader, Path]) -> None:
    found = loaded(loader, suite("JSONTestSuite", "*.json"))
    assert not any(file.definitions for file in found), "none of them is a task"


@needs("yaml-test-suite")
def test_the_yaml_test_suite_as_task_files_and_bodies(loader: tuple[Loader, Path], sender: Sender) -> None:
    """What must fail, and is read all the same, is no task by what it says."""
    texts = suite("yaml-test-suite", "*.yaml")
    assert len(texts) > 400
    assert not any(file.definitions for file in loaded(loader, texts))
    for text in texts.values():
        sender.refused("POST", "/tasks", text)
