"""What does a YAML file say, by the core schema of YAML 1.2?

libyaml composes nodes; this module gives them values: `on`, `no` and `12:30` are text, keys are text and stand once,
and what could hurt (aliases, depth, tags, merges, size) is refused with its line and column (SEMANTICS §1.6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml
from yaml._yaml import CParser

from zquant_flow.wording import say

MAX_BYTES = 10_000_000
MAX_ALIASES = 100
MAX_DEPTH = 50
MAX_NODES = 400_000
MAX_INT_DIGITS = 4_300

# What the resolver below answers for nodes without a tag; real tags are longer.
_PLAIN, _QUOTED, _SEQUENCE, _MAPPING = "p", "q", "s", "m"
_CORE = "tag:yaml.org,2002:"
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_SPECIAL_STARTS = frozenset("0123456789+-.~nNtTfF")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_STEEP = re.compile(rb"^[ \t?:-]{20}", re.MULTILINE)


class YamlError(ValueError):
    """Text that is not read; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its value, and the tree that knows where each part of it was written."""

    value: Any
    node: Any
    index: int

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    def locate(self, path: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value at `path` (of its key, with `key`), or of the last part that exists."""
        node, mark = self.node, self.node.start_mark
        for word in path:
            found = _child(node, word)
            if found is None:
                break
            key_node, node = found
            mark = key_node.start_mark if key or _is_empty(node) else node.start_mark
        return mark.line + 1, mark.column + 1


def read_yaml(data: bytes) -> list[Document]:
    """The documents of a file, without the empty ones; raises YamlError."""
    text = _checked_bytes(data)
    try:
        if _is_suspicious(text):
            _check_shape(text)
        parser = _Composer(text)
        try:
            return list(_documents(parser, aliases=b"&" in text))
        finally:
            parser.dispose()
    except yaml.YAMLError as exc:
        raise _translated(exc, text) from None


class _Composer(CParser):
    """libyaml's composer with a resolver that only notes how a scalar was written."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return _MAPPING if kind is yaml.MappingNode else _SEQUENCE

    def descend_resolver(self, parent: Any, index: Any) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass


def _documents(parser: _Composer, *, aliases: bool) -> Iterator[Document]:
    index = 0
    while parser.check_node():
        node: Any = parser.get_node()
        if not (node.tag == _PLAIN and node.value == ""):
            value = _AliasReader().read(node) if aliases else _read(node)
            yield Document(value, node, index)
            index += 1


def _read(node: Any) -> Any:
    tag = node.tag
    if tag == _QUOTED:
        return node.value
    if tag == _PLAIN:
        value = node.value
        return value if value and value[0] not in _SPECIAL_STARTS else _plain(value, node)
    if tag == _MAPPING:
        return _mapping(node, _read)
    if tag == _SEQUENCE:
        return [_read(item) for item in node.value]
    return _tagged(node, _read)


@dataclass(slots=True)
class _Seen:
    """A node's value with its expanded size (in characters and nodes) and its height."""

    value: Any
    size: int
    height: int


class _AliasReader:
    """Reads a tree whose nodes may be shared: each once, but counted as if it were written out at every use."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen | None] = {}
        self._uses = 0

    def read(self, node: Any) -> Any:
        seen = self._visit(node)
        if seen.height > MAX_DEPTH:
            _refuse(say("more than {count} levels deep", count=MAX_DEPTH), node)
        return seen.value

    def _visit(self, node: Any) -> _Seen:
        if id(node) in self._seen:
            return self._again(node)
        if isinstance(node, yaml.ScalarNode):
            seen = _Seen(_read(node), len(node.value) + 1, 0)
        else:
            self._seen[id(node)] = None
            inside: list[_Seen] = []
            value = _collection(node, lambda item: self._part(item, inside))
            size = 1 + sum(part.size for part in inside)
            seen = _Seen(value, size, 1 + max((part.height for part in inside), default=0))
            if size > MAX_BYTES:
                _refuse(say("its aliases, written out, are too large: use fewer"), node)
        self._seen[id(node)] = seen
        return seen

    def _part(self, node: Any, inside: list[_Seen]) -> Any:
        seen = self._visit(node)
        inside.append(seen)
        return seen.value

    def _again(self, node: Any) -> _Seen:
        self._uses += 1
        if self._uses > MAX_ALIASES:
            _refuse(say("more than {count} aliases: write the values out", count=MAX_ALIASES), node)
        seen = self._seen[id(node)]
        if seen is None:
            _refuse(say("an alias inside what it stands for"), node)
        return seen


def _collection(node: Any, read: Any) -> Any:
    if node.tag == _MAPPING:
        return _mapping(node, read)
    if node.tag == _SEQUENCE:
        return [read(item) for item in node.value]
    return _tagged(node, read)


def _mapping(node: Any, read: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _read(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            _refuse_key(key_node)
        if key == "<<" and key_node.tag == _PLAIN:
            _refuse(say("merge keys (<<) are not read: write the keys out"), key_node)
        if key in out:
            _refuse(say("the key {key!r} stands here twice: keep one of them", key=key), key_node)
        out[key] = read(value_node)
    return out


def _refuse_key(node: Any) -> NoReturn:
    if not isinstance(node, yaml.ScalarNode):
        _refuse(say("a key must be text, not a list or mapping"), node)
    _refuse(say('a key must be text: write "{value}" with quotes', value=node.value), node)


def _plain(value: str, node: Any) -> Any:
    if value in _NULLS:
        return None
    if value in _BOOLS:
        return _BOOLS[value]
    if _INT.fullmatch(value):
        return _int(value, node)
    if _FLOAT.fullmatch(value):
        return float(value)
    found = _INFINITE.fullmatch(value)
    if found:
        return float(value.replace(".", "", 1))
    return value


def _int(value: str, node: Any) -> int:
    if len(value) > MAX_INT_DIGITS:
        _refuse(
            say(
                "a number of {count} digits: at most {limit}, or write it in quotes",
                count=len(value),
                limit=MAX_INT_DIGITS,
            ),
            node,
        )
    if value.startswith("0x"):
        return int(value, 16)
    return int(value[2:], 8) if value.startswith("0o") else int(value)


def _tagged(node: Any, read: Any) -> Any:  # noqa: RET503
    """A node with a tag: those of the core schema must fit what is written; all others are refused."""
    name = node.tag.removeprefix(_CORE)
    if isinstance(node, yaml.MappingNode) and name == "map":
        return _mapping(node, read)
    if isinstance(node, yaml.SequenceNode) and name == "seq":
        return [read(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        if name == "str":
            return node.value
        value = _plain(node.value, node)
        if name == "float" and type(value) is int:
            return float(value)
        if {"int": int, "float": float, "bool": bool, "null": type(None)}.get(name) is type(value):
            return value
    shown = node.tag if node.tag == name else "!!" + name
    _refuse(say("the tag {shown} is not read here: leave it out", shown=shown), node)


def _refuse(message: str, node: Any) -> NoReturn:
    raise YamlError(message, node.start_mark.line + 1, node.start_mark.column + 1)


# Before libyaml: encoding, size, and a shape that its recursive composer survives


def _checked_bytes(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise YamlError(
            say("{count:,} bytes: a task file has at most {limit:,}", count=len(data), limit=MAX_BYTES),
            1,
            1,
        )
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise YamlError(say("byte 0x{byte:02x}: this is UTF-16; save the file as UTF-8", byte=data[0]), 1, 1)
    text = data[3:] if data.startswith(b"\xef\xbb\xbf") else data
    if not text.isascii():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as exc:
            message = say("byte 0x{byte:02x} is not UTF-8; save the file as UTF-8", byte=text[exc.start])
            raise YamlError(message, *_position(text, exc.start)) from None
    return text


def _is_suspicious(text: bytes) -> bool:
    """Could this nest deeply? Each level of blocks costs a column, each level of flow a bracket."""
    return (
        len(text) > 1_000_000
        or text.count(b"[") + text.count(b"{") > MAX_DEPTH - 20
        or _STEEP.search(text) is not None
    )


def _check_shape(text: bytes) -> None:
    """Walk the events, which needs no recursion, and stop at the first that is too deep or too many."""
    parser, depth = _Composer(text), 0
    try:
        for count in range(MAX_NODES):
            event = parser.get_event()
            if event is None or isinstance(event, yaml.StreamEndEvent):
                return
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    _refuse(say("more than {count} levels deep", count=MAX_DEPTH), event)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            del count
    finally:
        parser.dispose()
    raise YamlError(say("more than {count:,} values: split this file", count=MAX_NODES), 1, 1)


def _translated(exc: yaml.YAMLError, text: bytes) -> YamlError:
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark is not None:
        mark = exc.problem_mark
        message = ", ".join(part for part in (exc.problem, exc.context) if part)
        lines = text.split(b"\n", mark.line + 1)
        written = lines[mark.line] if mark.line < len(lines) else b""
        if b"\t" in written[: len(written) - len(written.lstrip()) or 1] and "token" in message:
            message = say("a tab can't indent YAML: use spaces")
        return YamlError(message, mark.line + 1, mark.column + 1)
    if isinstance(exc, yaml.reader.ReaderError):
        code = ord(exc.character) if isinstance(exc.character, str) else exc.character
        return YamlError(
            say("{reason} (#x{code:04x})", reason=exc.reason, code=code), *_position(text, exc.position)
        )
    return YamlError(str(exc), 1, 1)


def _position(text: bytes, offset: int) -> tuple[int, int]:
    before = text[:offset]
    start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[start:].decode("utf-8", "replace")) + 1


def _child(node: Any, word: str | int) -> tuple[Any, Any] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == word), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(word, int) and word < len(node.value):
        return node.value[word], node.value[word]
    return None


def _is_empty(node: Any) -> bool:
    return bool(node.tag == _PLAIN and node.value == "")
