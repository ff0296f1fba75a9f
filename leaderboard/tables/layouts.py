"""Rows laid out as a table of a paper: its methods, names, headings and order, completed by what it left out. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import pandas as pd

from bench.attacks.catalogue import ATTACKS
from bench.attacks.threats import Norm
from bench.data.profiles import profile_of
from leaderboard.rows import Setting, eps_text
from leaderboard.tables.blocks import LINE, UNDER, Block, Plan, met, ordered_datasets, ordered_protocols, usual
from leaderboard.tables.model import Cost, Group, Key, Line, measure_of, title_of
from leaderboard.tables.paper_rows import PaperRows
from leaderboard.tables.papers import FINE_TUNED, PaperLayout, Shape

Laid: TypeAlias = tuple[Block, Plan]


def laid_out(material: PaperRows) -> Iterator[Laid]:
    """The tables of a setting, each with the rows that it is filled from."""
    return SHAPES[material.layout.shape](material)


def _datasets(material: PaperRows) -> Iterator[Laid]:
    block = _block(material, material.rows)
    for protocol in _protocols(material):
        rows = block.rows[block.rows[UNDER].eq(protocol)]
        names = ordered_datasets(rows, material.layout.datasets)
        groups = tuple(Group(title_of(name), material.usual(rows, name, protocol)) for name in names)
        yield block, _plan(material, protocol, groups, _lines(material, rows))


def _side_by_side(material: PaperRows) -> Iterator[Laid]:
    block = _block(material, material.rows)
    for dataset in ordered_datasets(block.rows, material.layout.datasets):
        there = block.rows[block.rows["dataset"].eq(dataset)]
        for protocols in _together(material.layout, ordered_protocols(there)):
            rows = there[there[UNDER].isin(set(protocols))]
            groups = tuple(Group(heading, material.usual(rows, dataset, name)) for name, heading in protocols.items())
            meanings = [f"{heading}: {name}" for name, heading in protocols.items() if heading != name]
            remarks = (f"{'; '.join(meanings)}.",) if meanings else ()
            title = f"{title_of(dataset)}, {' and '.join(protocols)}"
            yield block, _plan(material, title, groups, _lines(material, rows), remarks)


def _block(material: PaperRows, rows: pd.DataFrame) -> Block:
    """Rows with a line per label, under their own protocols."""
    rows = rows.assign(**{LINE: rows["label"], UNDER: rows["protocol"]})
    return Block(material.setting, rows, material.labels, material.older)


def _protocols(material: PaperRows) -> list[str]:
    """The paper's own first."""
    there = ordered_protocols(_block(material, material.rows).rows)
    first = [name for protocols in material.layout.protocols for name in protocols if name in there]
    return list(dict.fromkeys((*first, *there)))


def _together(layout: PaperLayout, there: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Protocols that stand in one table, with their headings: the layout's sets, then the others by whose they are."""
    sets = [{name: heading for name, heading in one.items() if name in there} for one in layout.protocols]
    left = [name for name in there if not any(name in one for one in sets)]
    for whose in dict.fromkeys(name.partition("@")[2] for name in left):
        sets.append({name: name for name in left if name.partition("@")[2] == whose})
    return (one for one in sets if one)


def _lines(material: PaperRows, rows: pd.DataFrame) -> tuple[Line, ...]:
    there = set(rows["label"])
    return tuple(Line(label, (), stub=material.stub(label, rows)) for label in material.labels if label in there)


def _plan(
    material: PaperRows, name: str, groups: tuple[Group, ...], lines: tuple[Line, ...], remarks: Sequence[str] = ()
) -> Plan:
    metrics = list(dict.fromkeys(key.metric for group in groups for key in group.keys))
    return Plan(
        title=f"{material.layout.title}: {name}, {material.setting.text}",
        groups=groups,
        lines=lines,
        stub=material.layout.stub,
        measures=material.measures(metrics),
        remarks=(*remarks, *_added(material, metrics, lines)),
    )


def _added(material: PaperRows, metrics: Sequence[str], lines: Sequence[Line]) -> Iterator[str]:
    """What the paper's table does not have."""
    layout = material.layout
    columns = [measure_of(name).heading for name in metrics if name not in layout.headings]
    written = {name + sign for name in layout.methods.values() for sign in ("", FINE_TUNED)}
    others = 0 if layout.closed else sum(line.stub[0] not in written for line in lines)
    methods = [f"{others} of these methods"] if others else []
    added = [*columns, *methods, "spread", "n", *(() if layout.shape is Shape.COSTS else ("tests",))]
    yield f"Laid out as {layout.table} of the {layout.paper} paper, which is without {', '.join(added)}."


# Attacks side by side, protocols one below the other


def _attacked(material: PaperRows) -> Iterator[Laid]:
    there = _protocols(material)
    for signs in _below_each_other(material.layout, there):
        block, lines = _signed(material, signs)
        judged = [name for name in signs if name != OWN] or [OWN]
        for dataset in ordered_datasets(block.rows, material.layout.datasets):
            rows = block.rows[block.rows["dataset"].eq(dataset)]
            shown = tuple(line for line in lines if line.label in set(rows[LINE]))
            meanings = [f"{sign}: {name}" for name, sign in signs.items() if sign]
            remarks = (f"{'; '.join(meanings)}.",) if meanings else ()
            title = f"{title_of(dataset)}, {' and '.join(judged)}"
            yield block, _plan(material, title, _balls(material, rows, dataset), shown, remarks)


OWN = "own-1"
"""The protocol of supervised methods, which stand in the tables of every set."""


def _below_each_other(layout: PaperLayout, there: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Protocols of one table, each with the sign of its lines: the layout's sets, then every other alone."""
    found = [{name: sign for name, sign in one.items() if name in there} for one in layout.protocols]
    known = {name for one in layout.protocols for name in one}
    sets = [one for one in found if set(one) - {OWN}]
    alone = [name for name in there if name not in known or (name == OWN and not sets)]
    return iter([*sets, *({name: ""} for name in alone)])


def _signed(material: PaperRows, signs: Mapping[str, str]) -> tuple[Block, tuple[Line, ...]]:
    """The rows under these protocols, in lines of their own, and these lines."""
    rows = material.rows[material.rows["protocol"].isin(set(signs))]
    found = rows.drop_duplicates(["label", "protocol"])
    several = set(found["label"][found["label"].duplicated()])
    names = {
        (label, protocol): f"{label} ({protocol})" if label in several else label
        for label in material.labels
        for protocol in signs
        if (found["label"].eq(label) & found["protocol"].eq(protocol)).any()
    }
    lines = tuple(
        Line(name, (), stub=material.stub(label, rows, signs[protocol]), protocol=protocol)
        for (label, protocol), name in names.items()
    )
    line = [names[place] for place in zip(rows["label"], rows["protocol"], strict=True)]
    older = Counter({(dataset, ""): 0 for dataset in rows["dataset"]})
    for (dataset, protocol), count in material.older.items():
        older[dataset, ""] += count if protocol in signs else 0
    block = Block(material.setting, rows.assign(**{LINE: line, UNDER: ""}), tuple(names.values()), older)
    return block, lines


def _balls(material: PaperRows, rows: pd.DataFrame, dataset: str) -> tuple[Group, ...]:
    """The attacks by their norm and radius, the paper's first."""
    found = {key.metric: key for key in (*met(rows, dataset, ""), *usual(rows, dataset, ""))}
    measured = [name for name in found if name in material.layout.headings or _is_measured(rows, name)]
    listed = list(material.layout.headings)
    measured.sort(key=lambda name: listed.index(name) if name in listed else len(listed))
    balls: dict[str, list[Key]] = {}
    for name in measured:
        balls.setdefault(_ball(material.setting, rows, name), []).append(found[name])
    return tuple(Group(title, tuple(keys)) for title, keys in balls.items())


def _is_measured(rows: pd.DataFrame, metric: str) -> bool:
    return metric not in rows or bool(rows[metric].notna().any())


def _ball(setting: Setting, rows: pd.DataFrame, metric: str) -> str:
    """`L2, eps 0.5`; empty for clean and corrupted images."""
    spec = next((spec for name, spec in ATTACKS.items() if metric in (spec.metric, name)), None)
    if spec is None or spec.norm is Norm.LINF:
        return "" if metric in _UNATTACKED else f"{setting.norm}, eps {eps_text(setting.eps)}"
    return f"{spec.norm.label}, eps {spec.eps_for(profile_of(rows['dataset_like'].iloc[0])):g}"


_UNATTACKED = frozenset({"sa", "corruption", "corruption_19"})


# Costs


_FRACTION = 4  # Decimals of hours, where none is full.


def _costs(material: PaperRows) -> Iterator[Laid]:
    block = Block(material.setting, _pretrainings(material.rows), material.labels)
    for dataset in ordered_datasets(block.rows, material.layout.datasets):
        rows = block.rows[block.rows["dataset"].eq(dataset)]
        groups = (Group("", tuple(Key(dataset, "", cost) for cost in Cost)),)
        plan = _plan(material, title_of(dataset), groups, _lines(material, rows))
        hours = replace(plan.measures[Cost.HOURS], decimals=2 if rows[Cost.HOURS].max() >= 1 else _FRACTION)
        yield block, replace(plan, measures={**plan.measures, Cost.HOURS: hours})


def _pretrainings(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per pre-training, with what it cost."""
    timed = rows.sort_values("seconds_pretrain", na_position="last", kind="stable")
    once = timed.drop_duplicates(["label", "dataset", "seed_pretrain"]).sort_index()
    seconds = pd.to_numeric(once["seconds_pretrain"])
    epochs = once["config"].map(lambda text: json.loads(text).get("epochs")).astype(float)
    costs = {Cost.HOURS.value: seconds / 3600, Cost.EPOCH_SECONDS.value: seconds / epochs}
    return once.assign(**costs, **{LINE: once["label"]}).assign(**{UNDER: ""})


SHAPES: Mapping[Shape, Callable[[PaperRows], Iterator[Laid]]] = {
    Shape.DATASETS: _datasets,
    Shape.PROTOCOLS: _side_by_side,
    Shape.ATTACKS: _attacked,
    Shape.COSTS: _costs,
}
"""How each shape is laid out."""
