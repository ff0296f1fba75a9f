"""Features of test images in the plane (AMOC, Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.schema import Status
from bench.store import Store
from leaderboard.figures.material import Material, nothing_to_draw
from leaderboard.figures.model import Axis, Figure, Panel, Point, Role, Scale, Series
from leaderboard.tables.model import title_of

if TYPE_CHECKING:
    from leaderboard.studies.embedding import Embedding

CLASSES: Mapping[str, tuple[str, ...]] = {
    "cifar10": ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "stl10": ("plane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
}
"""Names of classes where a number says nothing."""
MOST_NAMED = 20
"""Classes that have room for their names."""
_BESIDE = 3  # Panels in a row.

Row: TypeAlias = Mapping[Hashable, Any]
Study: TypeAlias = "Callable[[Store, Row, Path], Embedding]"


def studied(store: Store, row: Row, data_dir: Path) -> Embedding:
    """The picture of a finished cell, on the CPU."""
    from leaderboard.studies.embedding import embedding  # It brings torch along, which other figures can do without.

    return embedding(store, row, data_dir)


def build(material: Material, study: Study = studied) -> Figure:
    """A panel per method, data set and protocol: test images of the first seed by t-SNE, coloured by class.

    Args:
        material: rows of one setting.
        study: makes the picture of a finished cell.

    Raises:
        BenchError: if no cell finished, or as `study`.
    """
    fine = material.rows[material.rows["status"].eq(Status.OK.value)].sort_values("seed_pretrain", kind="stable")
    first = fine.drop_duplicates(["label", "dataset", "protocol"])
    rows = sorted(first.to_dict("records"), key=lambda row: _place(material, row))
    if not rows:
        raise nothing_to_draw("no cell finished", "`bench table` says why they failed")
    found = [(row, study(material.store, row, material.data_dir)) for row in rows]
    panels = [_panel(material, row, one) for row, one in found]
    beside = _BESIDE if len(panels) != _BESIDE + 1 else 2
    return Figure(
        name="embedding",
        caption=f"t-SNE of the features of test images; {material.setting}.",
        panels=tuple(tuple(panels[start : start + beside]) for start in range(0, len(panels), beside)),
        notes=tuple(_note(row, one) for row, one in found),
        provenance=material.provenance,
    )


def _place(material: Material, row: Row) -> tuple[int, int]:
    """Places in order, and in each of them the methods."""
    return material.places.index((row["dataset"], row["protocol"])), material.labels.index(row["label"])


def _panel(material: Material, row: Row, found: Embedding) -> Panel:
    place = material.place_title(row["dataset"], row["protocol"])
    separable = found.separability
    numbers = f"silhouette {separable.silhouette:.2f}, {separable.neighbours}-NN {separable.knn_accuracy:.1f} %"
    title = ", ".join(part for part in (material.name_of(row["label"]), place) if part)
    nothing = Axis("", Scale.NONE)
    return Panel(f"{title}\n{numbers}", nothing, nothing, tuple(_classes(found, CLASSES.get(row["dataset_like"], ()))))


def _classes(found: Embedding, names: Sequence[str]) -> list[Series]:
    labels = sorted(set(found.labels.tolist()))
    named = len(labels) <= MOST_NAMED
    return [
        Series(
            label=(names[label] if label < len(names) else str(label)) if named else "",
            subject=str(label),
            points=tuple(Point(float(x), float(y)) for x, y in found.points[found.labels == label]),
            role=Role.CLASS,
        )
        for label in labels
    ]


def _note(row: Row, found: Embedding) -> str:
    return (
        f"{found.cell} on {title_of(row['dataset'])}: {len(found.points)} test images, perplexity "
        f"{found.perplexity:g}, trustworthiness {found.trustworthiness:.3f}. Silhouette and nearest neighbours are of "
        f"the features, by cosine; distances between clouds of the picture mean nothing."
    )
