"""The one small language of the command line: `name[key=value,key=[a,b]],name,...`. Imports no torch.

Examples:
    simclr                            a name
    ncp[neighbour=2,eps=8/255]        with options; fractions are numbers
    ncp[neighbour=[2,3],eps=[4/255]]  a list is a grid: one spec per combination
    dynacl[strength=(1,0.5)]          parentheses make one value of several parts
    parquet:./my data[like=cifar10]   a path, taken literally up to the first bracket
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias, TypeVar

from bench.errors import BenchError

Value: TypeAlias = "str | int | float | bool | tuple[Value, ...] | None"
Item = TypeVar("Item")

_KEYWORDS: Mapping[str, bool | None] = {"true": True, "false": False, "none": None}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_INTEGER = re.compile(r"[+-]?\d+")
_QUOTIENT = re.compile(rf"({_NUMBER})(?:/({_NUMBER}))?")
_QUOTED = re.compile(r"""(["'])((?:\\.|(?!\1)[^\\])*)\1""", re.DOTALL)
_PLAIN_NAME = re.compile(r"[\w@+-]+")
_NAME_STOPS = ",[]"
_WORD_STOPS = ",=[]()\"'"


@dataclass(frozen=True)
class Grid:
    """Several values for one option, written `[a,b]`: a spec for each of them."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Spec:
    """One item of a list: a name and its options.

    Attributes:
        name: canonical: `-` between the words of a plain name; a path stays as it was written.
        options: canonical: `_` between the words of a key; in the order in which they were written.
    """

    name: str
    options: Mapping[str, Value | Grid] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """The canonical spelling: options sorted, numbers normalised; `parse_specs` reads it back as this very spec."""
        options = ",".join(f"{key}={_write(value)}" for key, value in sorted(self.options.items()))
        return _write_name(self.name) + (f"[{options}]" if options else "")


def parse_specs(text: str) -> tuple[Spec, ...]:
    """The specs of a comma-separated list, in its order.

    Raises:
        BenchError: if the text cannot be read; the message shows where.
    """
    cursor = _Cursor(text)
    specs = [_spec(cursor)]
    while cursor.accept(","):
        specs.append(_spec(cursor))
    if cursor.peek():
        raise cursor.error(f"'{cursor.peek()}' closes nothing; remove it" if cursor.peek() in "])" else "expected ','")
    return tuple(specs)


def parse_spec(text: str) -> Spec:
    """The one spec of a text.

    Raises:
        BenchError: if the text cannot be read, or holds more than one.
    """
    spec, *others = parse_specs(text)
    if others:
        raise BenchError(f"'{text}' names {1 + len(others)} things where one is expected; give one of them.")
    return spec


def expand(spec: Spec) -> tuple[Spec, ...]:
    """One spec per point of its grid, the last option varying fastest; the spec itself if it has no grid."""
    axes = [value.values if isinstance(value, Grid) else (value,) for value in spec.options.values()]
    return tuple(
        replace(spec, options=dict(zip(spec.options, point, strict=True))) for point in itertools.product(*axes)
    )


def canonical_name(name: str) -> str:
    """`-` for `_` in a plain name; anything with a dot, slash, colon or space is a path and stays."""
    return name.replace("_", "-") if _PLAIN_NAME.fullmatch(name) else name


@dataclass
class _Cursor:
    """A place in a text."""

    text: str
    at: int = 0

    def peek(self) -> str:
        """The next character that is not a blank, without taking it; empty at the end."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def accept(self, mark: str) -> bool:
        """Take `mark` if it comes next."""
        found = self.peek() == mark
        self.at += found
        return found

    def word(self, stops: str) -> str:
        """Take everything before the first of `stops`, without blanks around it."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in stops:
            self.at += 1
        return self.text[start : self.at].strip()

    def quoted(self) -> str:
        """Take a quoted string."""
        found = _QUOTED.match(self.text, self.at)
        if not found:
            raise self.error("this quote is never closed")
        self.at = found.end()
        return re.sub(r"\\(.)", r"\1", found[2], flags=re.DOTALL)

    def sequence(self, brackets: str, item: Callable[[_Cursor], Item]) -> list[Item]:
        """Take a bracketed comma list, the brackets included."""
        opening, closing = brackets[0], brackets[1]
        opened = self.at
        self.accept(opening)
        items: list[Item] = []
        while not self.accept(closing):
            if not self.peek():
                raise self.error(f"this '{opening}' is never closed; add a '{closing}'", opened)
            items.append(item(self))
            if self.peek() not in ("", ",", closing):
                raise self.error(f"expected ',' or '{closing}'")
            self.accept(",")
        return items

    def error(self, reason: str, at: int | None = None) -> BenchError:
        """The error that shows a place in the text, by default the present one."""
        at = self.at if at is None else at
        rest = self.text[at:]
        place = f"at character {at + 1}, before '{rest}'" if rest else "at its end"
        return BenchError(f"cannot read '{self.text}' {place}: {reason}.")


class _Option(NamedTuple):
    at: int
    key: str
    value: Value | Grid


def _spec(cursor: _Cursor) -> Spec:
    quoted = cursor.peek() in ("'", '"')
    name = cursor.quoted() if quoted else cursor.word(_NAME_STOPS)
    if not name:
        raise cursor.error("a name is missing here")
    options: dict[str, Value | Grid] = {}
    for at, key, value in cursor.sequence("[]", _option) if cursor.peek() == "[" else ():
        if key in options:
            raise cursor.error(f"option '{key}' is given twice; keep one", at)
        options[key] = value
    return Spec(canonical_name(name), options)


def _option(cursor: _Cursor) -> _Option:
    at = cursor.at
    key = cursor.word(_WORD_STOPS).replace("-", "_")
    if not key:
        raise cursor.error("an option's name is missing here")
    if not cursor.accept("="):
        raise cursor.error(f"option '{key}' has no value; write {key}=VALUE", at)
    return _Option(at, key, _grid(cursor) if cursor.peek() == "[" else _value(cursor))


def _grid(cursor: _Cursor) -> Grid:
    at = cursor.at
    values = cursor.sequence("[]", _value)
    if not values:
        raise cursor.error("this grid is empty; give at least one value", at)
    if len({_write(value) for value in values}) < len(values):
        raise cursor.error("this grid holds a value twice; keep one", at)
    return Grid(tuple(values))


def _value(cursor: _Cursor) -> Value:
    mark = cursor.peek()
    if mark in ("'", '"'):
        return cursor.quoted()
    if mark == "(":
        return tuple(cursor.sequence("()", _value))
    if mark == "[":
        raise cursor.error("a list is a grid and cannot stand inside another value; for one value of parts write (a,b)")
    word = cursor.word(_WORD_STOPS)
    if not word:
        raise cursor.error("a value is missing here")
    return _literal(word)


def _literal(word: str) -> str | int | float | bool | None:
    """What an unquoted word means: a keyword, a number, a fraction, or itself."""
    if word.lower() in _KEYWORDS:
        return _KEYWORDS[word.lower()]
    if _INTEGER.fullmatch(word):
        return int(word)
    if found := _QUOTIENT.fullmatch(word):
        above, below = float(found[1]), float(found[2] or 1)
        if below and math.isfinite(above / below):
            return above / below
    return word


def _write(value: Value | Grid) -> str:
    match value:
        case Grid(values):
            return f"[{','.join(map(_write, values))}]"
        case tuple():
            return f"({','.join(map(_write, value))})"
        case str():
            bare = value == value.strip() and not set(value) & set(_WORD_STOPS) and isinstance(_literal(value), str)
            return value if value and bare else _quote(value)
        case bool() | None:
            return str(value).lower()
        case _:
            return repr(value)


def _write_name(name: str) -> str:
    bare = name == name.strip() and not set(name) & set(_NAME_STOPS) and name[:1] not in ("'", '"')
    return name if name and bare else _quote(name)


def _quote(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
