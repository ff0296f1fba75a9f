"""What every kind of figure starts from: rows of one version, in an order, and the numbers that are drawn of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.errors import BenchError, unknown
from bench.grammar import Spec, parse_spec
from bench.schema import Status
from bench.store import Store
from leaderboard.figures.model import PERCENT, Axis, Point, Role, Series
from leaderboard.rows import METRICS, Setting, attacks, by_setting, config_of, current, fingerprint, scores
from leaderboard.statistics.seeds import t_interval
from leaderboard.tables.model import Provenance, measure_of, place_of, title_of

FEWEST = 3
"""Seeds from which an interval is drawn: of two, it is wider than most panels."""
READING = (
    f"Marks are means over pre-training seeds, bars their 95 % t intervals (from {FEWEST} seeds on), dots single seeds."
)


@dataclass(frozen=True, eq=False)
class Material:
    """What a figure is made of.

    Attributes:
        rows: one version of every cell, failed ones included.
        store: where they come from, with histories and outcomes.
        command: what draws the figure again.
        data_dir: where data sets lie.
        order: labels of methods, those first that are to be drawn first.
    """

    rows: pd.DataFrame
    store: Store
    command: str
    data_dir: Path
    order: tuple[str, ...] = ()

    @classmethod
    def of(cls, frame: pd.DataFrame, store: Store, command: str, data_dir: Path, order: Sequence[str] = ()) -> Material:
        """From rows of any settings, of which older versions are left out."""
        kept = pd.concat([current(rows) for _, rows in by_setting(frame)], ignore_index=True)
        return cls(kept, store, command, data_dir, tuple(order))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """All methods, in order."""
        there = set(self.rows["label"])
        return (*(label for label in dict.fromkeys(self.order) if label in there), *sorted(there - set(self.order)))

    @cached_property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Every data set with every protocol that judged on it, ordered as in tables: SLF before ALF, papers' last."""
        found = set(zip(self.rows["dataset"], self.rows["protocol"], strict=True))
        return tuple(sorted(found, key=_order_of_place))

    @property
    def setting(self) -> str:
        """What all rows share, in words: `schedule quick, Linf eps 0.15`."""
        return "; ".join(setting.text for setting, _ in by_setting(self.rows))

    @property
    def provenance(self) -> Provenance:
        """Where the figure's numbers come from."""
        return Provenance(self.command, len(self.rows), fingerprint(self.rows))

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence on the cells that failed, if any did."""
        failed = self.rows[self.rows["status"].eq(Status.FAILED.value)]
        named = ", ".join(sorted(set(failed["label"])))
        return (f"{len(failed)} of {len(self.rows)} cells failed and have no marks: {named}.",) if len(failed) else ()

    def name_of(self, label: str) -> str:
        """What a method is called: by its epochs too, `amoc (200 epochs)`, where methods differ by them."""
        if not any("epochs" in parse_spec(one).options for one in self.labels):
            return label
        epochs = config_of(self.rows[self.rows["label"].eq(label)].iloc[0].to_dict()).get("epochs")
        return f"{bare(label, 'epochs')} ({epochs} epochs)"

    def place_title(self, dataset: str, protocol: str) -> str:
        """What tells a place from the others: its data set, its protocol, both, or nothing."""
        datasets, protocols = (tuple(dict.fromkeys(place[at] for place in self.places)) for at in (0, 1))
        short = {name: bare(name, "attacks") for name in protocols}
        named = short[protocol] if len(set(short.values())) == len(short) else protocol
        parts = [title_of(dataset)] if len(datasets) > 1 else []
        return ", ".join([*parts, *([named] if len(protocols) > 1 else [])])

    def of_method(self, label: str, dataset: str, protocol: str) -> pd.DataFrame:
        """The rows of one method in one place."""
        rows = self.rows
        return rows[rows["label"].eq(label) & rows["dataset"].eq(dataset) & rows["protocol"].eq(protocol)]

    def metrics(self, asked: Sequence[str] = ()) -> tuple[str, ...]:
        """The metrics to draw: those asked for, else all columns with a number.

        Raises:
            BenchError: for one that no row has a number of, or if there is none at all.
        """
        columns = tuple(metric for metric in METRICS if self.rows[metric].notna().any())
        choices = dict.fromkeys([*columns, *attacks(self.rows)])
        for metric in asked:
            if metric not in choices:
                raise unknown("metric (in these results)", metric, choices)
        if not columns and not asked:
            raise nothing_to_draw("no row has a number", "`bench table` says which cells failed and why")
        return tuple(asked) or columns


def _order_of_place(place: tuple[str, str]) -> tuple[int, bool, bool, tuple[str, str]]:
    dataset, protocol = place
    at, _ = place_of(dataset)
    return at, "@" in protocol, not protocol.startswith("slf"), place


def nothing_to_draw(reason: str, remedy: str) -> BenchError:
    """The error for rows that cannot carry the figure."""
    return BenchError(f"nothing to draw: {reason}. {remedy[:1].upper()}{remedy[1:]}.")


def bare(text: str, *options: str) -> str:
    """A label or a protocol without some of its options: `ncp` of `ncp[clusters=10]`."""
    spec = parse_spec(text)
    return Spec(spec.name, {name: value for name, value in spec.options.items() if name not in options}).text


def accuracy(metric: str) -> Axis:
    """The axis of a metric."""
    measure = measure_of(metric)
    low, high = PERCENT if measure.unit == "%" else (None, None)
    return Axis(f"{measure.heading} ({measure.unit})", low=low, high=high)


def mean_point(x: float, values: Iterable[float], text: str = "") -> Point:
    """The mean of the seeds' numbers at x, with its 95 % interval where there are enough."""
    numbers = list(values)
    ends = t_interval(numbers) if len(numbers) >= FEWEST else (None, None)
    return Point(x, sum(numbers) / len(numbers), ends[0], ends[1], text)


def lines(
    label: str, subject: str, protocol: str, numbers: Mapping[float, pd.Series], *, dashed: bool = False
) -> Iterator[Series]:
    """A method's numbers over x: each seed as dots, and the means joined.

    Args:
        label: in the legend.
        subject: the method.
        protocol: how it was judged.
        numbers: x to the numbers by seed.
        dashed: whether other lines of the method are judged otherwise.
    """
    dots = tuple(Point(x, float(value)) for x, values in numbers.items() for value in values if len(values) > 1)
    if dots:
        yield Series("", subject, dots, Role.SEED, protocol)
    means = tuple(mean_point(x, values) for x, values in numbers.items() if len(values))
    yield Series(label, subject, means, Role.MEAN, protocol, joined=True, dashed=dashed)


def by_seed(rows: pd.DataFrame, metric: str) -> pd.Series:
    """One number per pre-training seed of a method in one place; empty where nothing was measured."""
    return scores(rows, metric) if len(rows) else pd.Series(dtype=float)


def setting_of(rows: pd.DataFrame) -> Setting:
    """The setting that rows share."""
    return Setting.of(rows.iloc[0].to_dict())
