"""Training curves: the loss and the signs of life of pre-training, over its epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from bench.errors import unknown
from bench.history import SIGNS, Sign, series
from leaderboard.figures.histories import by_seed
from leaderboard.figures.material import Material, nothing_to_draw
from leaderboard.figures.model import Axis, Figure, Panel, Point, Role, Series

LOSS = "loss"
USUAL = (LOSS, *(f"{SIGNS}/{name}" for name in (Sign.SPREAD, Sign.DIMENSION, Sign.ALIGNMENT, Sign.ATTACK_SUCCESS)))
TITLES: Mapping[str, str] = {
    LOSS: "training loss",
    f"{SIGNS}/{Sign.SPREAD}": "spread of features",
    f"{SIGNS}/{Sign.DIMENSION}": "dimension of features",
    f"{SIGNS}/{Sign.ALIGNMENT}": "alignment (cosine)",
    f"{SIGNS}/{Sign.ATTACK_SUCCESS}": "attacks that succeed (share)",
    f"{SIGNS}/{Sign.ATTACK_GAIN}": "gain of the attacks",
}
_MOST: Mapping[str, float] = {f"{SIGNS}/{name}": 1.0 for name in (Sign.ALIGNMENT, Sign.ATTACK_SUCCESS)}
_BESIDE = 3  # Panels in a row.
_READING = (
    "Thick lines are means over pre-training seeds, thin ones single seeds. Losses of different methods are different "
    "quantities: compare their course, not their height. Spread: 1 if features are uniform on the sphere, 0 if all "
    "are the same; dimension: participation ratio of their covariance; alignment: cosine of an image and itself moved "
    "sideways by an eighth."
)

Curves = Mapping[int, Sequence[float]]
"""Seed to its numbers, an epoch each."""


def build(material: Material, quantities: Sequence[str] = ()) -> Figure:
    """A panel per quantity, a line per method.

    Args:
        material: rows of one setting.
        quantities: as histories name them (`loss`, `signs/spread`); by default the loss and the signs of life.

    Raises:
        BenchError: for a quantity that no history has, or if there is no history.
    """
    found = {label: _of_method(material, label) for label in material.labels}
    there = {name for of_method in found.values() for name in of_method}
    for name in quantities:
        if name not in there:
            raise unknown("quantity (in these histories)", name, there)
    names = tuple(quantities) or tuple(name for name in USUAL if name in there)
    if not names:
        raise nothing_to_draw("no pre-training here has a history", "run its cells again, or name others")
    panels = [
        Panel("", Axis("epoch"), Axis(TITLES.get(name, name), high=_MOST.get(name)), tuple(_series(found, name)))
        for name in names
    ]
    beside = len(panels) if len(panels) <= _BESIDE else -(-len(panels) // -(-len(panels) // _BESIDE))
    return Figure(
        name="curves",
        caption=f"Pre-training of {', '.join(material.labels)}; {material.setting}.",
        panels=tuple(tuple(panels[start : start + beside]) for start in range(0, len(panels), beside)),
        notes=(_READING, *material.failures),
        provenance=material.provenance,
    )


def _of_method(material: Material, label: str) -> Mapping[str, Curves]:
    """Every quantity of a method by seed, encoders judged in several places once."""
    found: dict[str, dict[int, Sequence[float]]] = {}
    for seed, facts in by_seed(material.store, material.rows[material.rows["label"].eq(label)]):
        for name, values in series(facts).items():
            found.setdefault(name, {})[seed] = values
    return found


def _series(found: Mapping[str, Mapping[str, Curves]], name: str) -> Iterator[Series]:
    for label, quantities in found.items():
        curves = quantities.get(name, {})
        for values in curves.values() if len(curves) > 1 else ():
            yield Series("", label, _points(values), Role.SEED, joined=True)
        if curves:
            epochs = min(map(len, curves.values()))
            means = [sum(values[epoch] for values in curves.values()) / len(curves) for epoch in range(epochs)]
            yield Series(label, label, _points(means), Role.LINE, joined=True)


def _points(values: Sequence[float]) -> tuple[Point, ...]:
    """Epochs count from 1; one without a finite number is a gap."""
    return tuple(Point(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value))
