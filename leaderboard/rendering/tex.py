"""Text for LaTeX: escaped, and measured, since a table must know how wide it will be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from unicodedata import lookup

_GREEK: Mapping[str, str] = {
    **{name: name.lower() for name in ("ALPHA", "BETA", "GAMMA", "DELTA", "ETA", "MU", "RHO", "SIGMA", "TAU")},
    "EPSILON": "varepsilon",
    "LAMDA": "lambda",
}

_SIGNS: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"$\mathdollar$",  # \$ alone asks for a font beyond the standard ones.
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\`{}",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "\N{EN DASH}": "--",
    "—": "---",
    "…": r"\ldots{}",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "“": "``",
    "”": "''",
    "\N{NO-BREAK SPACE}": "~",
    **{lookup(f"GREEK SMALL LETTER {name}"): f"$\\{command}$" for name, command in _GREEK.items()},
    "\N{MICRO SIGN}": r"$\mu$",
}

_WIDTHS: Mapping[str, float] = {
    **dict.fromkeys("!',.:;[]`il", 2.4),
    **dict.fromkeys("fj-", 2.9),
    **dict.fromkeys("()rtIs", 3.4),
    **dict.fromkeys("cez", 3.8),
    **dict.fromkeys("$*/0123456789^ago~? ", 4.3),
    **dict.fromkeys("Sbdhnpukqvxy{}_\\J", 4.8),
    **dict.fromkeys("LFEPBCTwZ", 6.2),
}
"""Of a glyph of Computer Modern at 8 pt, which is \\footnotesize of a 10 pt document; rounded up."""
_WIDEST = 8.8
_CAPITAL = 6.7

_LONG_WORD = 16  # Characters from which on a word may be broken at its signs.


def tex(text: str) -> str:
    """Text with every character that LaTeX reads as its own escaped, and those it has no glyph for by code point."""
    return "".join(_SIGNS.get(char) or (char if _typesettable(char) else f"U+{ord(char):04X}") for char in text)


def number(text: str) -> str:
    """`tex`, with a sign of a number set as a minus."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", tex(text))


def prose(text: str) -> str:
    """`number`, where a line may also be broken inside long words, after a sign."""
    return " ".join(_breakable(word) for word in text.split(" "))


def _breakable(word: str) -> str:
    if len(word) < _LONG_WORD:
        return number(word)
    return r"\allowbreak{}".join(number(part) for part in _parts(word) if part)


def _parts(text: str) -> list[str]:
    """What stands between places for a break: before a bracket, and after spaces and some signs."""
    return re.findall(r"[\[(]?[^\[(,=/_ ]*[,=/_ ]*", text)


def comment(text: str) -> str:
    """One line of ASCII, which stands after a `%`."""
    return "% " + " ".join(text.encode("ascii", "backslashreplace").decode().split())


def width(text: str) -> float:
    """How wide a text is at 8 pt, in pt; never less than it is."""
    return sum(map(_width, text))


def _width(char: str) -> float:
    if not (_typesettable(char) or char in _SIGNS):
        return width("U+10FFFF")
    return _WIDTHS.get(char) or (_CAPITAL if char in "ADGHKNOQRUVXY+=@&" else _WIDEST)


def longest_part(text: str) -> float:
    """How wide the widest part of a text is that has no space and no sign to be broken at, at 8 pt."""
    return max(map(width, _parts(text)))


def lines_of(text: str, available: float) -> list[str]:
    """A text in lines no wider than `available` at 8 pt, as far as it has spaces and signs to be broken at."""
    lines = [""]
    for part in _parts(text):
        if lines[-1] and width((lines[-1] + part).rstrip()) > available:
            lines.append("")
        lines[-1] += part
    return [line.strip() for line in lines]


def _typesettable(char: str) -> bool:
    """ASCII, and the accented letters that the standard fonts build."""
    return " " <= char <= "~" or char in "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"
