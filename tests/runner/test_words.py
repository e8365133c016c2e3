"""Commands as words: which need a shell, how the others are split."""

from __future__ import annotations

import pytest

from zquant_flow.errors import DefinitionError
from zquant_flow.runner.words import needs_shell, split_command


@pytest.mark.parametrize(
    "command",
    [
        "a | b",
        "a && b",
        "a; b",
        "a < b",
        "a > b",
        "ls *",
        "ls ?",
        "ls ~",
        "echo $X",
        "echo `x`",
        "a\nb",
        'echo "$X"',
        "a 'b' | c",
    ],
)
def test_an_operator_that_no_quote_protects_needs_a_shell(command: str) -> None:
    assert needs_shell(command)
    assert split_command(command) == ["/bin/sh", "-c", command]
    assert split_command(command, "/bin/bash")[0] == "/bin/bash"
    with pytest.raises(DefinitionError, match="only a shell understands"):
        split_command(command, False)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python a.py --x 1", ["python", "a.py", "--x", "1"]),
        ("echo 'a | b; $c'", ["echo", "a | b; $c"]),
        ('echo "a | b"', ["echo", "a | b"]),
        (r"echo a\|b \$c", ["echo", "a|b", "$c"]),
        ("echo '' x", ["echo", "", "x"]),
        ("echo it#s # so", ["echo", "it#s", "#", "so"]),
        ("同步 日历", ["同步", "日历"]),
        ("  true \n", ["true"]),
    ],
)
def test_a_plain_command_is_split_as_posix_words(command: str, words: list[str]) -> None:
    assert split_command(command) == words


def test_a_list_is_exact() -> None:
    assert split_command(["echo", "$X | y"]) == ["echo", "$X | y"]


@pytest.mark.parametrize("command", ["", "   ", [], [""], "''", "echo 'open"])
def test_what_can_not_be_run_is_refused(command: str | list[str]) -> None:
    with pytest.raises(DefinitionError):
        split_command(command)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sync --symbol {{ params.symbol }}", ["sync", "--symbol", "{{ params.symbol }}"]),
        ("sync --x={{ params.a | default('b c') }}", ["sync", "--x={{ params.a | default('b c') }}"]),
        ("'{{ a }} and' {{ b }}", ["{{ a }} and", "{{ b }}"]),
    ],
)
def test_a_template_belongs_to_its_word_and_needs_no_shell(command: str, words: list[str]) -> None:
    assert not needs_shell(command)
    assert split_command(command) == words


def test_an_operator_beside_a_template_still_needs_a_shell() -> None:
    assert needs_shell("echo {{ a }} | wc")
