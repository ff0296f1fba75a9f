"""NCP-ACL's Table 1 from finished cells: what noise costs the true class, and what perturbations toward clusters do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd

from bench.errors import BenchError
from bench.schema import Status
from bench.store import Store
from leaderboard.claims.claim import Quantity
from leaderboard.claims.record import Record
from leaderboard.rows import Setting, by_setting, current, fingerprint
from leaderboard.studies.cells import Row
from leaderboard.studies.effects import Effect, Perturbation, Pursuit
from leaderboard.tables import notes
from leaderboard.tables.model import Key, Measure, Provenance, Table, title_of
from leaderboard.tables.numbers import Numbers, from_numbers


@dataclass(frozen=True)
class _Column:
    """A column of the paper's table.

    Attributes:
        measure: how it is headed.
        of: its number.
        ratio: of the pursuit to random noise; the paper's text still has the largest.
    """

    measure: Measure
    of: Callable[[Effect], float]
    ratio: Quantity


COLUMNS: Mapping[str, _Column] = {
    "probability_decrease": _Column(
        Measure("Prob. Dec.", "mean decrease of the true class's probability"),
        lambda effect: effect.decrease,
        Quantity.PROBABILITY_RATIO,
    ),
    "attack_success": _Column(
        Measure("Attk. Succ.", "share of images that are classified wrongly with the perturbation"),
        lambda effect: effect.success,
        Quantity.SUCCESS_RATIO,
    ),
}
LINES = (Perturbation.NOISE, Perturbation.SIGNS, Perturbation.OTHER, Perturbation.NEIGHBOUR)
"""The paper's first and last, and two controls between them. The ceiling is no rival of theirs, hence a remark."""
WHICH = (
    "All on test images that are classified correctly without a perturbation, each within the same eps. The paper has "
    f"'{Perturbation.NOISE}' (uniform here) and '{Perturbation.NEIGHBOUR}'; the other two are controls: noise of the "
    "greatest length, and what it is worth that the cluster is the neighbour."
)

Study = Callable[[Store, Row, Path], Pursuit]


def perturbed(store: Store, row: Row, data_dir: Path) -> Pursuit:
    """The study of a finished cell with NCP-ACL's own settings."""
    from leaderboard.studies.pursuit import pursuit  # Torch is imported when a network is looked at, not before.

    return pursuit(store, row, data_dir)


def tables(
    rows: pd.DataFrame, store: Store, data_dir: Path, command: str, record: Record, study: Study = perturbed
) -> tuple[Table, ...]:
    """A table per setting, method and protocol; data sets across, mean and spread over seeds.

    Args:
        rows: of the cells, failed ones included: SimCLR's in the paper.
        store: where their networks are.
        data_dir: where downloaded data sets lie.
        command: what prints the tables again.
        record: of published numbers.
        study: measures a cell.

    Raises:
        BenchError: if no cell of them finished, or as `study`.
    """
    if not rows["status"].eq(Status.OK.value).any():
        raise BenchError("no cell finished, so there is no network to perturb images of: `bench table` says why.")
    return tuple(
        _table(setting, cells, [study(store, row, data_dir) for row in _finished(cells)], command, record)
        for setting, block in by_setting(rows)
        for _, cells in current(block).groupby(["label", "protocol"])
        if _finished(cells)
    )


def _finished(cells: pd.DataFrame) -> list[Row]:
    rows: list[Row] = list(cells[cells["status"].eq(Status.OK.value)].to_dict("records"))
    return rows


def _table(setting: Setting, cells: pd.DataFrame, found: Sequence[Pursuit], command: str, record: Record) -> Table:
    label, protocol = cells["label"].iloc[0], cells["protocol"].iloc[0]
    datasets = tuple(dict.fromkeys(one.dataset for one in found))
    columns = {
        Key(dataset, protocol, name): {
            str(kind): _by_seed([one for one in found if one.dataset == dataset], kind, column) for kind in LINES
        }
        for dataset in datasets
        for name, column in COLUMNS.items()
    }
    return from_numbers(
        Numbers(columns, {name: column.measure for name, column in COLUMNS.items()}, frozenset(columns)),
        title=f"{label}, {protocol}, {setting.text}",
        setting=setting,
        provenance=Provenance(command, len(cells), fingerprint(cells)),
        remarks=(WHICH, *_remarks(found, datasets, record), *_failures(cells)),
        stub="perturbation",
    )


def _by_seed(found: Sequence[Pursuit], kind: Perturbation, column: _Column) -> pd.Series:
    """Mean over the heads and attacks of a seed."""
    numbers = pd.Series([column.of(one.effects[kind]) for one in found], index=[one.seed for one in found], dtype=float)
    return numbers.groupby(level=0).mean()


def _remarks(found: Sequence[Pursuit], datasets: Iterable[str], record: Record) -> Iterator[str]:
    for dataset in datasets:
        here = [one for one in found if one.dataset == dataset]
        yield f"{title_of(dataset)}: {'; '.join((_setup(here), *_ratios(here)))}; {_ceiling(here)}."
    published = {claim.quantity: claim.value for claim in record.claims}
    largest = [f"{published[column.ratio]:g} times ({column.measure.heading})" for column in COLUMNS.values()]
    yield (
        f"Of the paper's table there is left, for no data set in particular: up to {' and '.join(largest)} random "
        f"noise. Ratios are of means over seeds."
    )


def _setup(found: Sequence[Pursuit]) -> str:
    """`K = 10-15, 119-123 images, eps 0.15`, over the seeds."""
    clusters, images = (_range([getattr(one, name) for one in found]) for name in ("clusters", "images"))
    return f"K = {clusters} by silhouette, {images} images"


def _range(numbers: Sequence[int]) -> str:
    return "-".join(str(number) for number in sorted({min(numbers), max(numbers)}))


def _ratios(found: Sequence[Pursuit]) -> Iterator[str]:
    for column in COLUMNS.values():
        kinds = (Perturbation.NOISE, Perturbation.NEIGHBOUR)
        noise, pursued = (fmean(column.of(one.effects[kind]) for one in found) for kind in kinds)
        ratio = f"{pursued / noise:.1f} times random noise" if noise > 0 else "no ratio, since noise has no effect"
        yield f"{column.measure.heading} toward the neighbour {ratio}"


def _ceiling(found: Sequence[Pursuit]) -> str:
    """What the same steps do that know the class."""
    effects = [one.effects[Perturbation.CROSS_ENTROPY] for one in found]
    numbers = [f"{fmean(column.of(effect) for effect in effects):.2f} %" for column in COLUMNS.values()]
    return f"the same steps on the head's cross-entropy, which know the class, reach {' and '.join(numbers)}"


def _failures(cells: pd.DataFrame) -> tuple[str, ...]:
    failed = cells[cells["status"].eq(Status.FAILED.value)]
    seeds = sorted(set(failed["seed_pretrain"].astype(int)))
    return notes.of_failure(cells, seeds, cells["seed_pretrain"].nunique())
