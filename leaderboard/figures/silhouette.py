"""The silhouette by which NCP-ACL chooses its number of clusters K (NCP-ACL, Figure 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leaderboard.claims.claim import Quantity
from leaderboard.claims.record import Record
from leaderboard.figures.histories import by_seed
from leaderboard.figures.material import Material, nothing_to_draw
from leaderboard.figures.model import Along, Axis, Figure, Guide, Panel, Point, Role, Series
from leaderboard.tables.model import title_of

SILHOUETTE = "silhouette"
"""Under this name a pre-training records the silhouette of every number of clusters that it tried."""
_READING = (
    "Thick lines are means over pre-training seeds, thin ones single seeds; a star is a seed's optimum, which its "
    "pre-training uses. Ticks: optima that the paper gives for its seeds (its figure shows seed 0 alone)."
)


def build(material: Material, record: Record | None = None) -> Figure:
    """A panel per data set, a line per method that chose K.

    Args:
        material: rows of methods that record a silhouette; others are left out.
        record: the literature, for its optima; None leaves them out.

    Raises:
        BenchError: if no pre-training recorded a silhouette.
    """
    datasets = list(dict.fromkeys(dataset for dataset, _ in material.places))
    found = {dataset: tuple(_series(material, dataset)) for dataset in datasets}
    shown = [dataset for dataset in datasets if found[dataset]]
    if not shown:
        raise nothing_to_draw(
            "no pre-training here recorded a silhouette",
            "run ncp without `clusters`, which then chooses it: bench run --methods ncp",
        )
    panels = tuple(
        Panel(
            title_of(dataset) if len(shown) > 1 else "",
            Axis("number of clusters K"),
            Axis("mean silhouette"),
            found[dataset],
            tuple(_published(record, dataset)) if record else (),
        )
        for dataset in shown
    )
    return Figure(
        name="silhouette",
        caption=f"Mean silhouette of the clusters of the initial encoder's features by K; {material.setting}.",
        panels=(panels,),
        notes=(_READING, *material.failures),
        provenance=material.provenance,
    )


def _series(material: Material, dataset: str) -> Iterator[Series]:
    for label in material.labels:
        rows = material.rows[material.rows["label"].eq(label) & material.rows["dataset"].eq(dataset)]
        curves = {
            seed: {int(k): float(score) for k, score in recorded[SILHOUETTE].items()}
            for seed, history in by_seed(material.store, rows)
            for recorded in history
            if SILHOUETTE in recorded
        }
        yield from _of_method(label, curves)


def _of_method(label: str, curves: Mapping[int, Mapping[int, float]]) -> Iterator[Series]:
    """The seeds, their mean, and each seed's optimum; of equal ones the smallest K."""
    for curve in curves.values() if len(curves) > 1 else ():
        yield Series("", label, tuple(Point(k, score) for k, score in curve.items()), Role.SEED, joined=True)
    shared = [k for k in next(iter(curves.values()), {}) if all(k in curve for curve in curves.values())]
    if shared:
        means = tuple(Point(k, sum(curve[k] for curve in curves.values()) / len(curves)) for k in shared)
        yield Series(label, label, means, Role.LINE, joined=True)
        best = {seed: max(curve, key=lambda k: (curve[k], -k)) for seed, curve in curves.items()}
        optima = tuple(Point(k, curves[seed][k]) for seed, k in best.items())
        yield Series("optimum of a seed", label, optima, Role.CHOSEN)


def _published(record: Record, dataset: str) -> Iterator[Guide]:
    claims = [one for one in record.claims if one.quantity is Quantity.OPTIMAL_K and one.dataset == dataset]
    for value in dict.fromkeys(claim.value for claim in claims):
        yield Guide(value, Along.X, "optimum of a seed, published", tick=True)
