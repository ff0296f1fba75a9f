"""Accuracy under an attack against the radius of its ball (AMOC, Figure 5)."""

from __future__ import annotations

import math

from bench.attacks.threats import Metric
from leaderboard.figures.material import (
    READING,
    Material,
    accuracy,
    bare,
    by_seed,
    lines,
    nothing_to_draw,
)
from leaderboard.figures.model import Along, Axis, Figure, Guide, Panel, Series
from leaderboard.rows import CORRUPTED, WORST, Setting, accuracies, config_of
from leaderboard.tables.model import measure_of, title_of

_OF_A_LADDER = ("attacks", "eps")
"""Options of a protocol by which the rungs of one ladder differ."""
_LEVELS = 255
_REMEDY = "run a ladder: bench run --attacks pgd20 --eps 0,1/255,2/255,4/255"
_NO_ATTACK = frozenset({Metric.SA, WORST, *CORRUPTED})
"""Accuracies that belong to no one attack."""


def build(material: Material, metric: str | None = None) -> Figure:
    """A panel per data set, a line per method and protocol over eps; rows of one setting but for eps are joined.

    Args:
        material: rows of several eps.
        metric: a column, or an attack whose accuracy is among the scores; by default the first of RA, PGD-20, AA and
            the other attacks that was met at two radii.

    Raises:
        BenchError: if no method met the attack, or any by default, at two radii or more.
    """
    metric = _climbed(material) if metric is None else metric
    material.metrics((metric,))
    rungs = _rungs(material, metric)
    whole = all(_is_whole(eps * _LEVELS) for eps in rungs)
    if len(rungs) < 2:
        raise nothing_to_draw(f"there is no number under {metric} at two radii", _REMEDY)
    datasets = list(dict.fromkeys(dataset for dataset, _ in material.places))
    panels = tuple(_panel(material, dataset, metric, whole, titled=len(datasets) > 1) for dataset in datasets)
    return Figure(
        name="ladder",
        caption=f"Accuracy {measure_of(metric).meaning.partition(',')[0]} against eps; {_setting(material)}.",
        panels=(panels,),
        notes=(READING, "The broken line is the eps of training, where all methods share it.", *material.failures),
        provenance=material.provenance,
        share_y=True,
    )


def _climbed(material: Material) -> str:
    """The first attack that was met at two radii."""
    for metric in accuracies(material.rows):
        if metric not in _NO_ATTACK and len(_rungs(material, metric)) > 1:
            return metric
    raise nothing_to_draw("there is no number under an attack at two radii", _REMEDY)


def _rungs(material: Material, metric: str) -> list[float]:
    measured = [by_seed(rows, metric) for _, rows in material.rows.groupby("eps")]
    eps = sorted(set(material.rows["eps"].astype(float)))
    return [one for one, values in zip(eps, measured, strict=True) if len(values)]


def _is_whole(number: float) -> bool:
    return math.isclose(number, round(number), abs_tol=1e-6)


def _panel(material: Material, dataset: str, metric: str, whole: bool, *, titled: bool) -> Panel:
    rows = material.rows[material.rows["dataset"].eq(dataset)]
    factor = _LEVELS if whole else 1
    unit = "1/255" if whole else "pixels in [0, 1]"
    protocols = {bare(protocol, *_OF_A_LADDER) for protocol in rows["protocol"]}
    series = tuple(
        one
        for label in material.labels
        for protocol in sorted(protocols)
        for one in _line(material, dataset, (label, protocol), metric, factor, named=len(protocols) > 1)
    )
    trained = {config_of(row).get("eps") for row in rows.to_dict("records")}
    eps = trained.pop() if len(trained) == 1 else None
    guides = (Guide(eps * factor, Along.X, "eps of training"),) if isinstance(eps, float) else ()
    axis = Axis(f"eps ({unit})", ticks=tuple(float(eps) * factor for eps in sorted(set(rows["eps"]))), low=0.0)
    return Panel(title_of(dataset) if titled else "", axis, accuracy(metric), series, guides)


def _line(
    material: Material, dataset: str, who: tuple[str, str], metric: str, factor: int, *, named: bool
) -> tuple[Series, ...]:
    label, protocol = who
    rows = material.rows[material.rows["label"].eq(label) & material.rows["dataset"].eq(dataset)]
    rows = rows[[bare(one, *_OF_A_LADDER) == protocol for one in rows["protocol"]]]
    found = {float(str(eps)) * factor: by_seed(rungs, metric) for eps, rungs in rows.groupby("eps")}
    numbers = {eps: values for eps, values in found.items() if len(values)}
    return (
        tuple(lines(f"{label} ({protocol})" if named else label, label, protocol, numbers, dashed=named))
        if numbers
        else ()
    )


def _setting(material: Material) -> str:
    """In words, without the eps that differs."""
    settings = {Setting.of(row).text for row in material.rows.to_dict("records")}
    return "; ".join(sorted({text.rpartition(" eps ")[0] for text in settings}))
