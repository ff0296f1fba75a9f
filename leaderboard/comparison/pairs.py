"""Which rows are meant, and whether they may be compared: methods or cells judged alike, protocols' verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.cells import find_cell
from bench.errors import BenchError, unknown
from leaderboard.rows import WORST, Selection, Setting, accuracies, by_setting, current, select, worst_over

ALIKE = ("dataset", "protocol", "norm", "eps", "precision", "limit_test")
"""What two rows must share to be compared at all."""
FINGERPRINTS = ("protocol_hash", "data_fingerprint", "test_images")
"""The same, where both know it."""


@dataclass(frozen=True)
class Pair:
    """Rows of A and of B that were judged alike, or rows of the same encoders that A and B judged.

    Attributes:
        a, b: the rows of each, all of one version.
        names: what A and B are called.
        encoders: label of the method whose encoders two protocols judged; None where one protocol judged both.
    """

    a: pd.DataFrame
    b: pd.DataFrame
    names: tuple[str, str]
    encoders: str | None = None

    @property
    def dataset(self) -> str:
        """The images that judged both."""
        return str(self.a["dataset"].iloc[0])

    @property
    def protocol(self) -> str:
        """How both were judged; of two protocols, both, and whose encoders they judged."""
        if self.encoders is not None:
            return f"{' and '.join(self.names)}, encoders of {self.encoders}"
        return str(self.a["protocol"].iloc[0])

    @property
    def settings(self) -> tuple[Setting, Setting]:
        """Of A and of B; they differ in pre-training at most."""
        first, second = (Setting.of(rows.iloc[0].to_dict()) for rows in (self.a, self.b))
        return first, second

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that both have numbers of; the worst case, where it is over the same attacks."""
        shared = [metric for metric in accuracies(self.a) if metric in accuracies(self.b)]
        alike = worst_over(self.a) == worst_over(self.b)
        return tuple(metric for metric in shared if metric != WORST or alike)


def find_pairs(frame: pd.DataFrame, a: str, b: str, selection: Selection) -> tuple[Pair, ...]:
    """Everything that A and B can be compared on.

    Args:
        frame: the rows of a store.
        a, b: labels of methods, or names or keys of cells, or protocols.
        selection: data sets, protocols and schedules that are wanted, for methods.

    Raises:
        BenchError: if one is not there, the two are one, of two kinds, or were never judged alike.
    """
    labels = [_label(frame, text) for text in (a, b)]
    if {a, b} <= set(frame["protocol"]):
        return _of_protocols(select(frame, selection), a, b)
    if all(labels):
        return _of_methods(select(frame, selection), str(labels[0]), str(labels[1]))
    plain = frame.astype(object).where(frame.notna(), None)
    rows = {str(row["cell"]): {str(name): value for name, value in row.items()} for row in plain.to_dict("records")}
    keys = [_cell(frame, rows, text, any(labels)) for text, label in zip((a, b), labels, strict=True) if not label]
    if any(labels):
        raise BenchError(
            f"'{a if labels[0] else b}' is a method and '{b if labels[0] else a}' is a single cell: give two methods, "
            f"or two cells."
        )
    return (_of_cells(frame, keys[0], keys[1], (a, b)),)


def _cell(frame: pd.DataFrame, rows: Mapping[str, Mapping[str, Any]], text: str, is_method: bool) -> str:
    """The cell that a text means; beside a method, what is no cell was to be one."""
    try:
        return find_cell(rows, text)
    except BenchError as error:
        if is_method and text in set(frame["protocol"]):
            raise BenchError(f"'{text}' is a protocol beside a method: give two methods, or two protocols.") from error
        if is_method and "/" not in text:
            raise unknown("method (in these results)", text, set(frame["label"])) from error
        raise


def _label(frame: pd.DataFrame, text: str) -> str | None:
    """The label that a text means, if it means one of these rows."""
    labels = set(frame["label"])
    if text in labels:
        return text
    try:
        meant = Selection.parse(methods=text).methods
    except BenchError:  # It may still name a cell: ncp[neighbour=3]/digits/slf-1/seed0.
        return None
    return meant[0] if len(meant) == 1 and meant[0] in labels else None


def _of_methods(frame: pd.DataFrame, a: str, b: str) -> tuple[Pair, ...]:
    if a == b:
        raise BenchError(f"'{a}' is both sides: name two methods, or two of its cells (bench show lists them).")
    found = []
    for _, block in by_setting(frame[frame["label"].isin([a, b])]):
        for _, rows in current(block).groupby(["dataset", "protocol"]):
            sides = (rows[rows["label"].eq(a)], rows[rows["label"].eq(b)])
            if all(map(len, sides)):
                found.append(_checked(Pair(*sides, (a, b))))
    if not found:
        raise BenchError(
            f"{a} and {b} were never judged alike: {_where(frame, a)}, {_where(frame, b)}. Run the missing cells with "
            f"the same data set, protocol and schedule."
        )
    return tuple(found)


def _where(frame: pd.DataFrame, label: str) -> str:
    rows = frame[frame["label"].eq(label)]
    places = {f"{row['dataset']}/{row['protocol']} ({Setting.of(row).text})" for row in rows.to_dict("records")}
    return f"{label} has {', '.join(sorted(places)) or 'nothing of what is asked for'}"


def _of_protocols(frame: pd.DataFrame, a: str, b: str) -> tuple[Pair, ...]:
    if a == b:
        raise BenchError(f"'{a}' is both sides: name two protocols that judged the same encoders.")
    found = []
    for _, block in by_setting(frame[frame["protocol"].isin([a, b])]):
        for (_, label), rows in current(block).groupby(["dataset", "label"]):
            sides = (rows[rows["protocol"].eq(a)], rows[rows["protocol"].eq(b)])
            if all(map(len, sides)):
                found.append(_of_same_encoders(Pair(*sides, (a, b), str(label))))
    if not found:
        raise BenchError(
            f"no encoder was judged by both {a} and {b}: `bench run --protocols {a},{b}` judges the same ones by both."
        )
    return tuple(found)


def _of_same_encoders(pair: Pair) -> Pair:
    """The pair, if both protocols judged the same encoder of every seed that they share.

    Raises:
        BenchError: naming the seeds of which they did not.
    """
    a, b = (dict(zip(rows["seed_pretrain"], rows["pretrain_key"], strict=True)) for rows in (pair.a, pair.b))
    if other := sorted(int(seed) for seed in a.keys() & b.keys() if a[seed] != b[seed]):
        raise BenchError(
            f"{pair.names[0]} and {pair.names[1]} judged different encoders of {pair.encoders} (seeds "
            f"{', '.join(map(str, other))}), of different code or settings: run both again in one command."
        )
    return pair


def _of_cells(frame: pd.DataFrame, a: str, b: str, names: tuple[str, str]) -> Pair:
    if a == b:
        raise BenchError(f"'{names[0]}' and '{names[1]}' are one and the same cell: name two.")
    return _checked(Pair(frame[frame["cell"].eq(a)], frame[frame["cell"].eq(b)], names))


def _checked(pair: Pair) -> Pair:
    """The pair, if both were judged by the same protocol on the same images.

    Raises:
        BenchError: naming what differs.
    """
    first, second = pair.a.iloc[0], pair.b.iloc[0]
    differing = [
        name for name in ALIKE if first[name] != second[name] and not pd.isna([first[name], second[name]]).all()
    ]
    known = [name for name in FINGERPRINTS if pd.notna(first[name]) and pd.notna(second[name])]
    differing += [name for name in known if first[name] != second[name]]
    if differing:
        told = "; ".join(f"{name} is {first[name]} and {second[name]}" for name in differing)
        raise BenchError(
            f"{pair.names[0]} and {pair.names[1]} cannot be compared: {told}. Compare rows of the same data and "
            f"protocol; `bench run` makes the missing ones."
        )
    return pair
