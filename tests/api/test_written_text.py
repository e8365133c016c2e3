"""What is written for a REST body is read back as exactly that, whatever characters it has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zquant_flow.definitions.drafts import draft_new
from zquant_flow.definitions.writing import edited_text, new_text, without_document
from zquant_flow.definitions.yaml_text import read_yaml

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30) | st.text(
    "ab .:#-'\"\\\n\r\t\x85\u2028\ufeff\u00a0|>%@`&*!?{}[],~0123eEx+_<=", max_size=12
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@example(".5e3")
@example("1e5")
@example("<<")
@example("a\n\n")
@example("# no comment\n")
@example("--- x\n")
@example({"\n": "\n", "<<": {"=": "%x"}})
@given(values)
def test_any_value_is_read_back(value: Any) -> None:
    words = {"name": "x", "command": "true", "params": {"value": value}}
    assert [document.value for document in read_yaml(new_text(words).encode())] == [words]


@settings(max_examples=150, deadline=None)
@given(texts, texts)
def test_an_edit_changes_its_own_word_only(before: str, after: str) -> None:
    words = {"name": "x", "description": before, "command": "true"}
    text = edited_text(new_text(words), 0, {"command": after or None})
    expected = {**words, "command": after} if after else {"name": "x", "description": before}
    assert [document.value for document in read_yaml(text.encode())] == [expected]


def test_text_of_several_lines_is_a_block_and_what_can_not_be_seen_is_quoted() -> None:
    text = new_text({"name": "x", "command": "set -e\necho 一\n", "description": "a\rb: c\n"})
    assert text == 'name: x\ndescription: "a\\rb: c\\n"\ncommand: |\n  set -e\n  echo 一\n'


def test_a_document_is_taken_out_and_the_others_keep_their_comments() -> None:
    text = "# one\nname: a  # its name\n---\nname: b\n---\n# three\nname: c\n"
    left = without_document(text, 1)
    assert [document.value for document in read_yaml(left.encode())] == [{"name": "a"}, {"name": "c"}]
    assert "# its name" in left


@pytest.mark.parametrize("value", ["x: y", "'", "a #b", "- a", "yes", "null", "1_000", "0o7", "2026-01-01"])
def test_words_that_look_like_something_else_stay_text(value: str) -> None:
    draft = draft_new(
        {"name": value, "description": value, "config": {"command": "true"}}, {}, lambda _: None
    )
    assert (draft.name, draft.definitions[0].task.description) == (value, value)
