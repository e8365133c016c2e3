"""Texts that hurt: JSON and YAML made at random, whole or damaged, from what parsers stumble over.

Numbers of any length, nesting, surrogates, double keys, byte order marks, tags, anchors, odd whitespace; then cut, doubled, or
with bytes changed.
"""

from __future__ import annotations

from random import Random

NUMBERS = (
    *(
        "0",
        "-0",
        "1",
        "-1",
        "01",
        "+1",
        ".5",
        "5.",
        "1e5",
        "1E+400",
        "-1e-400",
        "1e",
        "0x1F",
        "0o17",
        "1_000",
    ),
    *("9" * 20, "9" * 400, "9" * 5_000, str(2**63), str(-(2**63) - 1), "0." + "1" * 400, "NaN", "-Infinity"),
)
STRINGS = (
    *('""', '"a"', r'"\ud800"', r'"\udfff\ud800"', r'"\ud83d\ude00"', r'"\u0000"', '"\u2028"', '"\ufeff"'),
    *(r'"\x"', r'"\u12"', '"\t"', '"\x00"', '"\x7f"', '"\u202e"', '"%s"', '"{{ params.a }}"', '"$(id)"'),
    *('"unclosed', "'single'", '"' + "x" * 70_000 + '"', '"é"', '"é"', '"../../etc"', '"\r\n"'),
)
WORDS = ("true", "false", "null", "True", "nul", "~", "on", "undefined", "2026-02-30", "12:30", "<<", "=")
KEYS = (
    *("name", "command", "params", "config", "cron", "interval", "tasks", "dependencies", "timeout", "env"),
    *("schedules", "max_retries", "definition", "task_ids", "from", "to", "action", "", "a", "__proto__"),
)
SPACE = ("", "", "", " ", "\n", "\t", "\r\n", "\u00a0", "\u2028", "\f", "/* c */", "// c\n", "# c\n")
YAML_ONLY = (
    *("!!python/object/apply:os.getpid []", "!!binary aGk=", "!!set {a}", "!!timestamp 2026-01-01", "!x y"),
    *(
        "&a [*a]",
        "*b",
        "&a b",
        "? [a]\n: b",
        "- - - a",
        "|\n  x",
        ">-\n  y",
        "%YAML 1.1",
        "--- a",
        "...",
        "@a",
    ),
    *("`a`", "'it''s'", "[a, b", "{a: b", "a: b: c", "\t- a", ": a", "- ", "<<: {a: 1}", "? ", "[" * 60),
)


def json_text(chance: Random) -> bytes:
    """Something like JSON."""
    return _damaged(chance, _value(chance, 5).encode("utf-8", "surrogatepass"))


def yaml_text(chance: Random) -> bytes:
    """Something like a task file; each fifth is one, but for what may stand in its params."""
    if chance.randrange(5) == 0:
        return _damaged(chance, f"command: x\nparams: {{a: {_value(chance, 2)}}}\n".encode())
    lines = []
    for _ in range(chance.randint(1, 6)):
        key = chance.choice([*KEYS, *KEYS, "name", "command", *WORDS, *NUMBERS[:8]])
        value = chance.choice([_value(chance, 3), chance.choice(YAML_ONLY), chance.choice(WORDS), "x"])
        lines.append(f"{' ' * chance.choice([0, 0, 0, 1, 2])}{key}: {value}")
    return _damaged(chance, chance.choice(["\n", "\n", "\r\n", "\n---\n"]).join(lines).encode())


def _value(chance: Random, depth: int) -> str:
    kind = chance.randrange(8 if depth else 4)
    if kind < 4:
        return chance.choice((NUMBERS, STRINGS, STRINGS, WORDS)[kind])
    if kind == 4:
        levels = chance.choice([2, 10, 60, 300, 3_000])
        return "[" * levels + _value(chance, 0) + "]" * levels
    items = [_value(chance, depth - 1) for _ in range(chance.randint(0, 4))]
    comma = chance.choice([",", ",", ",", ",,", " "]) + chance.choice(SPACE)
    if kind == 5:
        return f"[{comma.join(items)}{chance.choice(['', '', ','])}]"
    pairs = (f'"{chance.choice(KEYS)}"{chance.choice(SPACE)}:{item}' for item in items)
    return "{" + comma.join(pairs) + "}"


def _damaged(chance: Random, data: bytes) -> bytes:
    """As it is half of the time."""
    kind = chance.randrange(14)
    if kind == 0:
        return data[: chance.randrange(len(data) + 1)]
    if kind == 1:
        return data + data
    if kind == 2:
        return chance.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00"]) + data
    if kind == 3:
        return data.decode("utf-8", "replace").encode(chance.choice(["utf-16", "utf-16-be", "utf-32"]))
    if kind < 7 and data:
        changed = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(len(changed))] = chance.choice([0, 9, 34, 44, 92, 123, 128, 237, 255])
        return bytes(changed)
    return data
