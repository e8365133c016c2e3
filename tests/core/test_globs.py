"""Which paths a glob means, and which globs mean nothing."""

from __future__ import annotations

import re

import pytest

from zquant_flow.core.globs import fault_of, glob_in


@pytest.mark.parametrize(
    ("text", "root", "parts", "depth"),
    [
        ("inbox/*.csv", "/t/inbox", ("*.csv",), 0),
        ("*.csv", "/t", ("*.csv",), 0),
        ("../inbox/a?/x.csv", "/inbox", ("a?", "x.csv"), 1),
        ("inbox/**/*.csv", "/t/inbox", ("**", "*.csv"), None),
        ("inbox/**", "/t/inbox", ("**", "*"), None),
        ("/data/in/done.txt", "/data/in", ("done.txt",), 0),
    ],
)
def test_a_glob_has_a_folder_and_patterns_below_it(text, root, parts, depth):
    found = glob_in(text, "/t")
    assert (found.root, found.parts, found.depth) == (root, parts, depth)


@pytest.mark.parametrize(
    ("text", "meant", "others"),
    [
        ("in/*.csv", ["a.csv", "ä b.csv"], ["a.CSV", "a.csv.tmp", ".a.csv", "x/a.csv", "a.tsv"]),
        ("in/.*.csv", [".a.csv"], ["a.csv"]),
        ("in/**/*.csv", ["a.csv", "x/a.csv", "x/y/z/a.csv"], [".x/a.csv", "x/.y/a.csv", "x/.a.csv", "x/a"]),
        ("in/**", ["a", "x/y"], [".a", "x/.y"]),
        ("in/*/b/*.csv", ["x/b/a.csv"], ["b/a.csv", "x/y/b/a.csv", "x/b/y/a.csv"]),
        ("in/a/../*.csv", ["b.csv"], ["a/b.csv"]),
        ("in/**/b/**/c", ["b/c", "x/b/y/z/c", "b/b/c"], ["c", "x/c", "b/d"]),
        ("in/[ab]?", ["a1", "b2"], ["c1", "a", "a12"]),
    ],
)
def test_what_a_glob_means(text, meant, others):
    found = glob_in(text, "/t")
    assert [path for path in (*meant, *others) if found.means(path)] == meant


@pytest.mark.parametrize(
    ("text", "held", "others"),
    [
        ("in/*.csv", [""], ["x"]),
        ("in/x*/*.csv", ["", "x1"], ["y", "x1/x1"]),
        ("in/**/*.csv", ["", "x", "x/y"], [".x", "x/.y"]),
    ],
)
def test_only_folders_that_may_hold_something_are_looked_into(text, held, others):
    found = glob_in(text, "/t")
    assert [folder for folder in (*held, *others) if found.may_hold(folder)] == held


@pytest.mark.parametrize(
    "text", ["", "  ", "a" * 1001, "in/\0.csv", "in/", "in/a**/x", "/*/x", "/**", "*/../x"]
)
def test_a_glob_that_can_mean_no_file_is_refused(text):
    assert fault_of(text)
    with pytest.raises(ValueError, match=re.escape(str(fault_of(text)))):
        glob_in(text, "/t")


def test_many_wildcards_are_told_quickly():
    assert not glob_in("in/" + "**/" * 20 + "x", "/t").means("/".join("ab" * 100))
    assert not glob_in("in/" + "*a" * 50 + "b", "/t").means("a" * 250)
