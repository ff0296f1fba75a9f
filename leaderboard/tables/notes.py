"""The sentences below a table: what its numbers are, what its marks rest on, and what they cannot show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.gates.verdicts import Verdict
from bench.protocols.recipes import PROTOCOLS
from bench.schema import Status
from leaderboard.rows import SEEDS, Setting
from leaderboard.statistics.paired import ALPHA, POWER, Column, Comparison, smallest_detectable, smallest_significant
from leaderboard.tables.model import FAMILY, Cost, Key, Measure, Metric, Table

CONTEXT = (
    "harness_version",
    "context_torch",
    "context_cuda",
    "context_device",
    "context_threads",
    "context_memory_format",
    "context_deterministic",
    "context_execution",
)
DEVICE = ("context_device", "context_threads", "context_execution")
"""What a time depends on."""
_LONGEST = 160


def of_method(rows: pd.DataFrame) -> tuple[str, ...]:
    """Footnotes of a method, from its rows of a table."""
    sentences = (sentence for rule in _METHOD_RULES for sentence in rule(rows))
    return tuple(dict.fromkeys(sentences))


def of_cost(rows: pd.DataFrame, beside: pd.DataFrame) -> tuple[str, ...]:
    """Footnotes of what a method cost: where, if not all that stand beside it were measured there.

    Args:
        rows: of the method.
        beside: of the whole table.
    """
    if len(devices(beside)) == 1:
        return ()
    return (f"measured on {'; '.join(devices(rows))}",)


def of_failure(rows: pd.DataFrame, seeds: Sequence[int], tried: int) -> tuple[str, ...]:
    """The footnote of a number that some seeds did not reach: which, and the first error."""
    if not seeds:
        return ()
    failed = rows[rows["status"].eq(Status.FAILED.value) & rows["seed_pretrain"].isin(seeds)]
    reason = " ".join(str(failed["error"].iloc[0]).split())
    reason = reason if len(reason) <= _LONGEST else reason[: _LONGEST - 3] + "..."
    listed = ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))
    survivors = "; the numbers are of the others alone" if len(seeds) < tried else ""
    return (f"{len(seeds)} of {tried} seeds failed ({listed}){survivors}. First error: {reason}",)


def _own_footnotes(rows: pd.DataFrame) -> Iterator[str]:
    for text in rows["footnotes"].dropna():
        yield from json.loads(text)


def _labelled(rows: pd.DataFrame) -> Iterator[str]:
    if _holds(rows, "labelled_pretraining").any():
        yield "labels were used in pre-training"


def _external(rows: pd.DataFrame) -> Iterator[str]:
    if _holds(rows, "external_data").any():
        yield "data or weights from outside the pre-training images were used"


def _other_images(rows: pd.DataFrame) -> Iterator[str]:
    other = rows[rows["pretrain_data"] != rows["dataset"]]
    for pool, dataset in dict.fromkeys(zip(other["pretrain_data"], other["dataset"], strict=True)):
        yield f"pre-trained on {pool}, not on the default pool of {dataset}"


def _edge(rows: pd.DataFrame) -> Iterator[str]:
    at_edge = _holds(rows, "head_rate_at_edge")
    for (protocol, dataset), found in rows.groupby(["protocol", "dataset"], sort=False):
        rates = found.loc[at_edge[found.index], "head_rate"]
        for rate, count in rates.value_counts(sort=False).items():
            yield (
                f"{protocol} on {dataset}: the head's learning rate is {rate:g}, an edge of its grid, in "
                f"{_share(count, len(found))}; {_EDGES[_is_smallest(str(protocol), rate)]}"
            )


_EDGES: Mapping[bool, str] = {
    True: "of rates that tie on the held-out slice the smallest is taken, so larger ones may have done as well",
    False: "no smaller rate did as well on the held-out slice, so one beyond the grid might do better",
}


def _is_smallest(protocol: str, rate: object) -> bool:
    """Whether `rate` is the lower edge of the protocol's grid; the other edge is never reached by a tie."""
    return protocol in PROTOCOLS and rate in PROTOCOLS[protocol].recipe.rates[:1]


def _warnings(rows: pd.DataFrame) -> Iterator[str]:
    for text in rows["warnings"].dropna():
        yield from (f"warning: {sentence}" for sentence in json.loads(text))


def _gates(rows: pd.DataFrame) -> Iterator[str]:
    """Which gates warn or fail, on every row or some, and what that means."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for text in rows["gates"].dropna():
        for gate, facts in json.loads(text).items():
            if facts["verdict"] in _SAID_OF_GATES:
                found.setdefault((gate, facts["verdict"]), []).append(facts)
    for (gate, verdict), all_facts in sorted(found.items()):
        said = _SAID_OF_GATES[verdict]
        yield f"gate {gate} {said} in {_share(len(all_facts), len(rows))}: {all_facts[0]['why']}"


def _share(count: int, rows: int) -> str:
    """How many rows, in words that several methods can share as one footnote."""
    return "every row" if count == rows else "some rows"


_SAID_OF_GATES: Mapping[str, str] = {
    Verdict.WARN: "warns",
    Verdict.FAIL: "fails, so that nothing here is marked or ranked,",
}


_METHOD_RULES: tuple[Callable[[pd.DataFrame], Iterator[str]], ...] = (
    _labelled,
    _external,
    _other_images,
    _edge,
    _gates,
    _own_footnotes,
    _warnings,
)


def _holds(rows: pd.DataFrame, column: str) -> pd.Series:
    """Where a truth value is true, whatever type a column of nulls and truth values was read as."""
    return rows[column].isin([True])


def of_table(table: Table, rows: pd.DataFrame, families: Mapping[str, int], older: int) -> tuple[str, ...]:
    """What holds for the whole table.

    Args:
        table: as it stands, but for these sentences.
        rows: the rows that it averages.
        families: protocol to the number of tests that were adjusted together.
        older: rows that were left out because newer ones took their place.
    """
    costs = all(key.metric in set(Cost) for key in table.keys)
    sentences = [
        *(_costs(table, rows) if costs else _accuracies(table, families)),
        *(() if costs else _flags(table.tests, rows)),
        *_limits(table.setting),
        *(() if costs else _legacy(rows)),
        *_older(older),
        *_contexts(rows),
    ]
    return tuple(sentences)


def _accuracies(table: Table, families: Mapping[str, int]) -> Iterator[str]:
    counted = [f"the {count} tests of {protocol or 'this table'}" for protocol, count in families.items() if count]
    meanings = "; ".join(f"{measure.heading}: {measure.meaning}" for measure in _measures(table))
    yield f"Accuracy in % of the test images ({meanings}): {_SPREAD}."
    yield from of_tests(table.tests, *_headings(table), counted)


_SPREAD = "mean ± sample standard deviation over n pre-training seeds"


def _costs(table: Table, rows: pd.DataFrame) -> Iterator[str]:
    meanings = "; ".join(
        f"{measure.heading}: {measure.meaning}" + (f", {measure.unit}" if measure.unit else "")
        for measure in _measures(table)
    )
    yield f"{meanings}: {_SPREAD}. Costs are neither tested nor marked."
    found = devices(rows)
    yield (
        f"Times were taken on {'; '.join(found)}, with whatever else ran there: "
        + (
            "these are not one machine, so compare only lines of the same."
            if len(found) > 1
            else "no other machine's times compare with them."
        )
    )


def devices(rows: pd.DataFrame) -> tuple[str, ...]:
    """Where the rows were measured, as far as a time depends on it."""
    return tuple(_device(row) for row in rows.drop_duplicates(list(DEVICE)).to_dict("records"))


def _device(row: Mapping[Any, Any]) -> str:
    """`a GPU (eager)`, with the threads that a CPU had."""
    known = {name: row[name] for name in DEVICE if not pd.isna(row[name])}
    count = known.get("context_threads")
    threads = "" if count is None else f"{count:g} thread{'' if count == 1 else 's'}"
    details = ", ".join(filter(None, (threads, known.get("context_execution", ""))))
    return f"{known.get('context_device', 'a device that is not known')}" + (f" ({details})" if details else "")


def _measures(table: Table) -> list[Measure]:
    return list(_by_metric(table).values())


def _by_metric(table: Table) -> Mapping[str, Measure]:
    keys = {key.metric: key for key in table.keys}
    return {metric: table.measure(keys[metric]) for metric in _metrics(keys)}


def _headings(table: Table) -> tuple[list[str], list[str]]:
    """Of the metrics whose p-values are adjusted together, and of the others."""
    measures = _by_metric(table).items()
    adjusted = [measure.heading for metric, measure in measures if metric in FAMILY]
    return adjusted, [measure.heading for metric, measure in measures if metric not in FAMILY]


def _metrics(asked: Iterable[str]) -> list[str]:
    """Columns of the rows in their order, then costs, then attacks that have no column."""
    there = dict.fromkeys(asked)
    known = [*Metric, *Cost]
    return [metric for metric in known if metric in there] + [metric for metric in there if metric not in known]


def of_tests(
    tests: Sequence[Column[Key]], adjusted: Sequence[str], raw: Sequence[str], counted: Sequence[str]
) -> tuple[str, ...]:
    """What the marks of a table rest on, and what its tests can show.

    Args:
        tests: of its columns.
        adjusted: headings of the metrics whose p-values are adjusted.
        raw: of the others.
        counted: the tests that are adjusted together: `the 6 tests of slf-1`.
    """
    found = [comparison for column in tests for comparison in column.comparisons]
    if not any(comparison.test for comparison in found):
        return ("Nothing is marked: no two methods share the two seeds that a test needs.",)
    return (_marks(adjusted, raw, counted), *_power(found))


def _marks(adjusted: Sequence[str], raw: Sequence[str], counted: Sequence[str]) -> str:
    holm = f"{' and '.join(adjusted)} adjusted by Holm over {' and '.join(counted)} in this setting" if adjusted else ""
    unadjusted = f"{', '.join(raw)}: raw p, no claim" if raw else ""
    return (
        "Bold: the best of a column, and those that a paired t-test by seed does not tell from it (two-sided, "
        f"p < {ALPHA:g}; {'; '.join(filter(None, (holm, unadjusted)))}). "
        "Underlined: the highest of the rest. The best is picked by these same numbers, which flatters it."
    )


def _power(found: Sequence[Comparison]) -> Iterator[str]:
    counts = sorted({comparison.test.n for comparison in found if comparison.test})
    shown = "; ".join(
        f"n = {n}: p < {ALPHA:g} needs a mean difference above {smallest_significant(n):.2f} sd, and only a true "
        f"difference of {smallest_detectable(n):.2f} sd is found with {POWER:.0%} probability"
        for n in counts
    )
    yield (
        f"What so few seeds can show, before any adjustment, with sd that of the differences by seed: {shown} "
        "(in points: column 'detects'). Not significant is not equal."
    )


def _flags(tests: Sequence[Column[Key]], rows: pd.DataFrame) -> Iterator[str]:
    """What is odd about the tests of accuracies."""
    comparisons = [comparison for column in tests for comparison in column.comparisons]
    lonely = any(column.comparisons and column.single for column in tests)
    if lonely or any(comparison.test is None for comparison in comparisons):
        yield "Methods that share fewer than two seeds with the best are neither tested nor marked."
    if any(comparison.undecidable for comparison in comparisons):
        yield (
            "A difference that is the same number in every seed leaves a t-test no variance: its p of 0 is a limit, "
            "not evidence; it is neither adjusted nor used for a mark."
        )
    seeds = rows.groupby(["label", "dataset", "protocol"])["seed_pretrain"]
    if len({frozenset(found) for _, found in seeds}) > 1:
        yield "Not all methods have the same seeds: each pair is compared on the seeds it shares."
    if rows.groupby(["label", "dataset", "protocol", "seed_pretrain"]).size().gt(1).any():
        yield f"Several rows of one pre-training seed ({', '.join(SEEDS[1:])}) count as one number, their mean."


def _limits(setting: Setting) -> Iterator[str]:
    if setting.limited:
        parts = {"training": setting.limit_train, "test": setting.limit_test}
        kept = " and ".join(f"{count} {name} images" for name, count in parts.items() if count is not None)
        yield f"Limited to {kept} (--limit): not comparable with full results."


def _legacy(rows: pd.DataFrame) -> Iterator[str]:
    names = sorted(set(rows.loc[rows["legacy"].astype(bool), "protocol"]))
    if names:
        yield f"Legacy, a paper's own recipe, to be compared with that paper alone: {', '.join(names)}."


def _older(count: int) -> Iterator[str]:
    if count:
        rows = "1 row" if count == 1 else f"{count} rows"
        yield f"{rows} of older settings, data or code are left out; `bench run` brings their seeds up to date."


def _contexts(rows: pd.DataFrame) -> Iterator[str]:
    mixed = {name: sorted(set(rows[name].dropna().astype(str))) for name in CONTEXT}
    differing = [
        f"{name.removeprefix('context_')}: {', '.join(found)}" for name, found in mixed.items() if len(found) > 1
    ]
    if differing:
        yield f"The rows come from more than one context ({'; '.join(differing)})."
