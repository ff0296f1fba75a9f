"""Rows read back: selected, reduced to one version each, and split into blocks that may be compared."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.attacks.catalogue import ATTACKS
from bench.data.sources import parse_sources
from bench.errors import BenchError, unknown
from bench.gates.verdicts import Verdict
from bench.grammar import Spec, expand, parse_spec, parse_specs
from bench.keys import digest
from bench.registry import Registry
from bench.schema import Status
from bench.store import read_rows

METRICS = ("sa", "ra_pgd20", "pgd20", "aa")
WORST = "ra_worst"
"""The column of several attacks together, those in `worst_over`."""
CORRUPTED = ("corruption", "corruption_19")
"""The columns of other images than the test images."""
ACCURACIES = (*METRICS, WORST, *CORRUPTED)
"""All columns in per cent of images, those too that tables do not show by themselves."""
IDENTITY = ("label", "dataset", "protocol")
"""With the setting: what makes rows differ by their seeds alone."""
VERSION = ("config", "protocol_hash", "plugin_hash", "pretrain_data", "data_fingerprint", "pool_fingerprint")
"""What must be equal besides: rows that disagree with the newest of their identity are of an older version."""
SEEDS = ("seed_pretrain", "seed_head", "seed_attack")


@dataclass(frozen=True)
class Selection:
    """Which rows are wanted; an empty tuple is all of them.

    Attributes:
        methods: labels, `ncp` or `ncp[neighbour=3]`; a plain name is the method as it stands, as for `bench run`.
        datasets: canonical source texts.
        protocols: names.
        schedules: names.
    """

    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls,
        methods: str | None = None,
        datasets: str | None = None,
        protocols: str | None = None,
        schedule: str | None = None,
    ) -> Selection:
        """A selection from comma lists, in the spelling of `bench run`; grids stand for all their points.

        Raises:
            BenchError: if a list cannot be read.
        """
        return cls(
            methods=_labels(methods) if methods else (),
            datasets=tuple(source.name for source in parse_sources(datasets)) if datasets else (),
            protocols=_texts(protocols),
            schedules=_names(schedule),
        )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(spec.name for spec in parse_specs(text)) if text else ()


def _texts(text: str | None) -> tuple[str, ...]:
    """With their options, as protocols are named in rows."""
    return tuple(one.text for spec in parse_specs(text) for one in expand(spec)) if text else ()


def _labels(text: str) -> tuple[str, ...]:
    return tuple(Spec(_method_name(spec.name), one.options).text for spec in parse_specs(text) for one in expand(spec))


def _method_name(text: str) -> str:
    """The name under which a method's rows are kept; a plugin's file is asked for it, without being imported."""
    return Registry(()).find(text).name if ".py" in text else text.lower()


@dataclass(frozen=True)
class Setting:
    """What rows must share to stand in one table: the grouping key.

    Attributes:
        schedule, epochs: length of pre-training, and the `--epochs` that overrode it.
        budget: the `--budget` that chose the epochs instead.
        limit_train, limit_test: `--limit`; None is all images.
        norm, eps: the attack budget.
        precision: of the scoring.
    """

    schedule: str
    epochs: int | None
    budget: float | None
    limit_train: int | None
    limit_test: int | None
    norm: str
    eps: float
    precision: str

    @classmethod
    def of(cls, record: Mapping[Hashable, Any]) -> Setting:
        """The setting of a row, given as column name to value."""
        return cls(
            schedule=record["schedule"],
            epochs=_whole(record["epochs"]),
            budget=None if pd.isna(record["budget"]) else float(record["budget"]),
            limit_train=_whole(record["limit_train"]),
            limit_test=_whole(record["limit_test"]),
            norm=record["norm"],
            eps=float(record["eps"]),
            precision=record["precision"],
        )

    @property
    def limited(self) -> bool:
        """Whether some images were left out."""
        return self.limit_train is not None or self.limit_test is not None

    @property
    def text(self) -> str:
        """For a title: `schedule quick, Linf eps 8/255`."""
        parts = [f"schedule {self.schedule}"]
        parts += [f"{self.epochs} epoch{'s' * (self.epochs != 1)}"] if self.epochs is not None else []
        parts += [f"{self.budget:g} passes per image"] if self.budget is not None else []
        parts += [f"{self.norm} eps {eps_text(self.eps)}"]
        parts += [self.precision] if self.precision != "fp32" else []
        limits = {"train": self.limit_train, "test": self.limit_test}
        parts += [f"limit {name}={count}" for name, count in limits.items() if count is not None]
        return ", ".join(parts)


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def eps_text(eps: float) -> str:
    """A radius as papers write it: `8/255`, or a plain number."""
    levels = eps * 255
    return f"{round(levels)}/255" if abs(levels - round(levels)) < 1e-6 else f"{eps:g}"


def load(out: Path, selection: Selection) -> pd.DataFrame:
    """The wanted rows of the store at `out`, failed ones included.

    Raises:
        BenchError: if there are none; the message says what there is.
    """
    return select(read_rows(out), selection)


def select(frame: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The wanted rows.

    Raises:
        BenchError: for a name that no row has (with the closest one suggested), or if no row has all that is wanted.
    """
    wanted = (
        ("method", selection.methods, "label"),
        ("data set", selection.datasets, "dataset"),
        ("protocol", selection.protocols, "protocol"),
        ("schedule", selection.schedules, "schedule"),
    )
    keep = pd.Series(True, index=frame.index)
    for kind, names, column in wanted:
        there = set(frame[column])
        for name in names:
            if name not in there:
                raise unknown(f"{kind} (in these results)", name, there)
        keep &= frame[column].isin(names) if names else True
    if not keep.any():
        raise BenchError("no result has all that was asked for together: drop one of the filters, or run those cells.")
    return frame[keep]


def config_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The resolved settings of a row."""
    found: dict[str, Any] = json.loads(row["config"])
    return found


def by_setting(frame: pd.DataFrame) -> Iterator[tuple[Setting, pd.DataFrame]]:
    """Blocks of rows that may be compared, sorted by setting. Rows of two settings never meet."""
    found = [Setting.of(record) for record in frame.to_dict("records")]
    for setting in sorted(set(found), key=lambda setting: setting.text):
        yield setting, frame[[one == setting for one in found]]


def current(block: pd.DataFrame) -> pd.DataFrame:
    """Keep, for each label, data set and protocol, only rows of the same version as its newest row, one per seeds.

    A store keeps the rows of earlier settings and code under the same label; averaging them would mix two methods.
    What a failed row does not know (a null) agrees with everything.
    """
    newest_first = block.assign(_time=pd.to_datetime(block["created"], utc=True, format="ISO8601"))
    newest_first = newest_first.sort_values(["_time", "cell"], ascending=False, kind="stable").drop(columns="_time")
    kept = [_same_version(rows) for _, rows in newest_first.groupby(list(IDENTITY), sort=False)]
    return pd.concat(kept).drop_duplicates([*IDENTITY, *SEEDS]).sort_values([*IDENTITY, *SEEDS], ignore_index=True)


def _same_version(rows: pd.DataFrame) -> pd.DataFrame:
    known = rows[list(VERSION)]
    newest = known.bfill().iloc[0]
    return rows[(known.eq(newest) | known.isna()).all(axis="columns")]


def scores(rows: pd.DataFrame, metric: str) -> pd.Series:
    """Seed to per cent: one number per pre-training seed, the mean over its head and attack seeds; nulls left out.

    Args:
        rows: of one method on one data set under one protocol.
        metric: a column, or an attack by its name, whose accuracy is among the `scores`.
    """
    values = rows[metric] if metric in rows else rows["scores"].map(lambda text: _met(text).get(metric))
    values = pd.to_numeric(values).astype(float)
    return values.groupby(rows["seed_pretrain"].astype(int)).mean().dropna()


def attacks(rows: pd.DataFrame) -> tuple[str, ...]:
    """All attacks that some rows met, in the order of `bench list attacks`, those of other cells' classifiers last."""
    met = dict.fromkeys(name for text in rows["scores"] for name in _met(text))
    return (*(name for name in ATTACKS if name in met), *(name for name in met if name not in ATTACKS))


def _met(scores: object) -> Mapping[str, float]:
    """The attacks of a row's `scores`, with the accuracy under each; none where the row has no such text."""
    found: Mapping[str, float] = json.loads(scores) if isinstance(scores, str) else {}
    return found


def accuracies(rows: pd.DataFrame) -> tuple[str, ...]:
    """All that some rows have numbers of: columns in the order of `ACCURACIES`, then attacks that fill none."""
    columns = (name for name in ACCURACIES if rows[name].notna().any())
    alone = (name for name in attacks(rows) if name not in ATTACKS or ATTACKS[name].metric is None)
    return (*columns, *alone)


def worst_over(rows: pd.DataFrame) -> frozenset[str]:
    """The attacks that the worst case is over, on any of the rows that have one."""
    texts = rows.loc[rows[WORST].notna(), "worst_over"].dropna()
    return frozenset(name for text in texts for name in json.loads(text))


def believed(rows: pd.DataFrame) -> bool:
    """Whether no gate failed on any of these rows: else their numbers are shown, but never marked or ranked."""
    return not rows["gate_verdict"].isin([Verdict.FAIL.value]).any()


def failed_seeds(rows: pd.DataFrame, metric: str) -> tuple[int, ...]:
    """Pre-training seeds that have no number of this metric because their cell failed."""
    failed = rows.loc[rows["status"].eq(Status.FAILED.value), "seed_pretrain"].astype(int)
    return tuple(sorted(set(failed) - set(scores(rows, metric).index)))


def head_of(protocol: str) -> str:
    """A protocol's name without `attacks=`: which others meet the same head changes the meaning of no number."""
    spec = parse_spec(protocol)
    return replace(spec, options={name: value for name, value in spec.options.items() if name != "attacks"}).text


def fingerprint(rows: pd.DataFrame) -> str:
    """Hash of the numbers behind a table: cells, how they ended, and metrics; the order of rows does not count."""
    columns = ["cell", "status", *METRICS]
    plain = rows[columns].astype(object).where(rows[columns].notna(), None)
    return digest(sorted(plain.values.tolist(), key=str))
