"""The rows that belong into a table of a paper, and what their methods are called there. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.grammar import Spec, parse_spec
from leaderboard.rows import Setting, by_setting, current, head_of
from leaderboard.spelling import by_number
from leaderboard.tables.blocks import UNDER, usual
from leaderboard.tables.judged import one_row_per_head
from leaderboard.tables.model import Key, Measure, Metric, measure_of
from leaderboard.tables.papers import Option, PaperLayout

ROBUST = (Metric.RA, Metric.PGD)
"""The two settings of PGD-20, of which protocols have one."""


@dataclass(frozen=True)
class PaperRows:
    """The rows of a setting that belong into a table of a paper.

    Attributes:
        layout: the table.
        setting: what the rows share.
        rows: one per head, whatever attacks it met.
        older: how many rows newer ones took the place of, by (data set, protocol).
        order: labels from top to bottom where the reader wants another order than the paper's.
    """

    layout: PaperLayout
    setting: Setting
    rows: pd.DataFrame
    older: Mapping[tuple[str, str], int]
    order: tuple[str, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Of the methods, from top to bottom: the order asked for, else the paper's, the others by name."""
        return tuple(sorted(set(self.rows["label"]), key=self._place))

    def _place(self, label: str) -> tuple[Any, ...]:
        listed, methods = self.order, list(self.layout.methods)
        name = parse_spec(label).name
        return (
            listed.index(label) if label in listed else len(listed),
            methods.index(name) if name in methods else len(methods),
            tuple(option.place(value) for option, value in self._values(label, self.rows)),
            by_number(label),
        )

    def _values(self, label: str, rows: pd.DataFrame) -> Iterator[tuple[Option, str]]:
        """The layout's options of a method, as its resolved settings have them; empty where they do not."""
        settings = json.loads(rows.loc[rows["label"].eq(label), "config"].iloc[0])
        return ((option, str(settings.get(option.name, ""))) for option in self.layout.options)

    def stub(self, label: str, rows: pd.DataFrame, sign: str = "") -> tuple[str, ...]:
        """The texts left of a method's numbers.

        Args:
            label: of the method.
            rows: of the table, whose data set a method's settings may depend on.
            sign: what stands behind its name.
        """
        options = tuple(option.text(value) for option, value in self._values(label, rows))
        return options if self.layout.variants else (name_of(self.layout, label) + sign, *options)

    def measures(self, metrics: Sequence[str]) -> Mapping[str, Measure]:
        """How the paper heads them."""
        headed = {name: heading for name, heading in self.layout.headings.items() if name in metrics}
        return {name: replace(measure_of(name), heading=heading) for name, heading in headed.items()}

    def usual(self, rows: pd.DataFrame, dataset: str, protocol: str) -> tuple[Key, ...]:
        """SA, RA or the paper's own PGD-20, whichever more rows have, and AA."""
        there = rows[rows["dataset"].eq(dataset) & rows[UNDER].eq(protocol)]
        counts = {metric: (there[metric].notna().sum(), metric in self.layout.headings) for metric in ROBUST}
        dropped = min(ROBUST, key=lambda metric: counts[metric])
        return tuple(key for key in usual(there, dataset, protocol) if key.metric != dropped)


def name_of(layout: PaperLayout, label: str) -> str:
    """A method as the paper writes it, with the options that the paper does not have."""
    spec = parse_spec(label)
    dropped = {*layout.silent, *(option.name for option in layout.options)}
    options = {name: value for name, value in spec.options.items() if name not in dropped}
    written = layout.methods.get(spec.name, spec.name)
    return Spec(spec.name, options).text.replace(Spec(spec.name).text, written, 1)


def paper_rows(frame: pd.DataFrame, layout: PaperLayout, order: Sequence[str]) -> tuple[PaperRows, ...]:
    """The rows that belong into a paper's table, by setting.

    Raises:
        BenchError: if no row does; if the table compares variants of a method, and there is only one.
    """
    belonging = frame[[_belongs(layout, label) for label in frame["label"]]]
    if belonging.empty:
        raise BenchError(f"no result here belongs into {layout.layout}, which shows {_shown(layout)}: run them first.")
    found = tuple(_of_setting(layout, setting, rows, order) for setting, rows in by_setting(belonging))
    if layout.variants and all(len(material.labels) < 2 for material in found):
        [option] = layout.options
        raise BenchError(
            f"{layout.layout} compares values of '{option.name}', and there is only one here "
            f"({found[0].labels[0]}): run others, such as {_variant(layout)}, or leave --layout out."
        )
    return found


def _belongs(layout: PaperLayout, label: str) -> bool:
    spec = parse_spec(label)
    known = {*layout.silent, *(option.name for option in layout.options)}
    return not layout.closed or (spec.name in layout.methods and set(spec.options) <= known)


def _shown(layout: PaperLayout) -> str:
    options = ", ".join(f"'{option.name}'" for option in layout.options)
    return f"{', '.join(layout.methods)}, with {options} as their only options"


def _variant(layout: PaperLayout) -> str:
    """An example of another variant."""
    [option], [method] = layout.options, layout.methods
    return f"{method}[{option.name}={next(value for value in option.texts if value != option.own)}]"


def _of_setting(layout: PaperLayout, setting: Setting, rows: pd.DataFrame, order: Sequence[str]) -> PaperRows:
    newest = current(rows)
    older = Counter(zip(rows["dataset"], rows["protocol"].map(head_of), strict=True))
    older.subtract(Counter(zip(newest["dataset"], newest["protocol"].map(head_of), strict=True)))
    return PaperRows(layout, setting, one_row_per_head(newest), older, tuple(order))
