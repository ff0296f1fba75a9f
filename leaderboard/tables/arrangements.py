"""Rows laid out where no paper is followed: as they are, methods by their labels. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from leaderboard.layouts import Arrangement
from leaderboard.rows import Setting, current
from leaderboard.spelling import by_number
from leaderboard.tables.blocks import LINE, UNDER, Block, Plan, ordered_datasets, ordered_protocols, usual
from leaderboard.tables.model import Group, Key, Line, title_of


def arranged(setting: Setting, rows: pd.DataFrame, order: Sequence[str]) -> Block:
    """The rows of a setting, a line per label.

    Args:
        setting: what they share.
        rows: older versions included.
        order: labels from top to bottom; the rest follows by name.
    """
    kept = current(rows)
    kept = kept.assign(**{LINE: kept["label"], UNDER: kept["protocol"]})
    labels = set(kept["label"])
    lines = (*(label for label in dict.fromkeys(order) if label in labels), *sorted(labels - set(order), key=by_number))
    places = ["dataset", "protocol"]
    older = Counter(zip(*(rows[name] for name in places), strict=True))
    older.subtract(Counter(zip(*(kept[name] for name in places), strict=True)))
    return Block(setting, kept, lines, older)


def plans(block: Block, arrangement: Arrangement | None = None) -> Iterator[Plan]:
    """Its tables, with SA, RA and AA in every group of columns.

    Args:
        block: as `arranged` makes it.
        arrangement: None is by data set where one was judged under several protocols, else by protocol.
    """
    several = bool(block.rows.groupby("dataset")[UNDER].nunique().gt(1).any())
    chosen = arrangement or (Arrangement.BY_DATASET if several else Arrangement.BY_PROTOCOL)
    by_protocol = chosen is Arrangement.BY_PROTOCOL
    tables = ordered_protocols(block.rows) if by_protocol else ordered_datasets(block.rows)
    column = UNDER if by_protocol else "dataset"
    for name in tables:
        yield _plan(block, block.rows[block.rows[column].eq(name)], name, by_protocol)


def _plan(block: Block, rows: pd.DataFrame, name: str, by_protocol: bool) -> Plan:
    if by_protocol:
        groups = [Group(title_of(dataset), _usual(rows, dataset, name)) for dataset in ordered_datasets(rows)]
    else:
        groups = [Group(protocol, _usual(rows, name, protocol)) for protocol in ordered_protocols(rows)]
    there = set(rows[LINE])
    lines = tuple(Line(label, ()) for label in block.order if label in there)
    return Plan(f"{title_of(name)}, {block.setting.text}", tuple(groups), lines)


def _usual(rows: pd.DataFrame, dataset: str, under: str) -> tuple[Key, ...]:
    return usual(rows[rows["dataset"].eq(dataset) & rows[UNDER].eq(under)], dataset, under)
