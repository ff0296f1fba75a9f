"""A comparison in words: what was tested, what it says, and what it cannot say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from leaderboard.comparison.compare import BySeed, MetricResult, Options, Result
from leaderboard.comparison.pairs import Pair
from leaderboard.rows import CORRUPTED, SEEDS, WORST, failed_seeds, worst_over
from leaderboard.statistics.images import McNemar
from leaderboard.statistics.paired import ALPHA, PairedTest
from leaderboard.statistics.seeds import SMALLEST_RANKED, WORTHWHILE, Improvement, pairs_for_improvement
from leaderboard.tables.model import measure_of
from leaderboard.tables.notes import of_method

RANKED_BESIDE = 8
"""Pairs from which an exact rank test is worth reading beside t."""
FEW = 10
"""Pre-training seeds below which percentile intervals are noticeably too short."""
PAIRING = (
    (0.3, "pairing by seed helped"),
    (0.0, "pairing by seed hardly helped"),
    (-1.0, "pairing by seed did not help, it widened the interval"),
)
"""The least correlation over seeds to what pairing by them did: the variance of a difference falls as it rises."""


def signed(points: float) -> str:
    """`+1.25 points`."""
    return f"{points:+.2f} points"


def interval_text(low: float, high: float) -> str:
    """`[-0.31, 2.80]`."""
    return f"[{low:.2f}, {high:.2f}]"


def p_text(p: float) -> str:
    """`p = 0.021`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def title(pair: Pair) -> str:
    """`ncp against amoc on digits under slf-1 (schedule quick, Linf eps 0.15)`, or `slf-1 against slf@ncp on ...`."""
    a, b = pair.settings
    setting = a.text if a == b else f"{pair.names[0]}: {a.text}; {pair.names[1]}: {b.text}"
    judged = f"under {pair.protocol}" if pair.encoders is None else f"on the same encoders, those of {pair.encoders}"
    return f"{pair.names[0]} against {pair.names[1]} on {pair.dataset} {judged} ({setting})"


def paragraphs(result: Result, options: Options) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A heading and sentences for each metric, then the caveats."""
    for found in result.metrics:
        measure = measure_of(found.metric)
        sentences = (
            *_conclusion(result.pair, found, options),
            *_means(result.pair, found),
            *_seeds(result, found, options),
            *_images(result.pair, found),
        )
        yield f"{measure.heading}, accuracy {measure.meaning}", sentences
    yield "What to keep in mind", tuple(caveats(result))


# In a word.


def _conclusion(pair: Pair, found: MetricResult, options: Options) -> Iterator[str]:
    a, b = pair.names
    seeds = found.seeds
    if seeds is None:
        yield f"In a word: one model of each says nothing about {a} and {b} as methods; see the images below."
    elif seeds.told_apart is None:
        yield "In a word: every seed has the same difference, so a test has no variance to work with: no verdict."
    elif seeds.told_apart:
        better, worse = (a, b) if seeds.test.mean_difference > 0 else (b, a)
        yield f"In a word: {better} is better than {worse}, {_agreement(found)}."
    elif seeds.equivalence and seeds.equivalence.shown:
        yield f"In a word: equal to within {options.margin:g} points."
    else:
        yield "In a word: not told apart, and not shown to be equal either."


def _agreement(found: MetricResult) -> str:
    """Whether new test images could change what the seeds say."""
    if found.images is None:
        return "as far as seeds can tell; there is no test by image"
    low, high = found.images.bootstrap.interval
    if low > 0 or high < 0:
        return "by seeds, and with test images drawn anew as well"
    return "by seeds; but with test images drawn anew, too, the interval holds 0: on other images it might be otherwise"


def _means(pair: Pair, found: MetricResult) -> Iterator[str]:
    a, b = pair.names
    sides = zip((a, b), (found.a, found.b), strict=True)
    texts = [
        f"{name} {side.mean:.2f}" + (f" ± {side.sd:.2f}" if side.sd is not None else "") + f" (n = {side.n})"
        for name, side in sides
    ]
    yield f"Mean ± sample standard deviation over pre-training seeds: {', '.join(texts)}."
    shared = sorted(found.a.by_seed.keys() & found.b.by_seed.keys())
    values = [f"{seed}: {found.a.by_seed[seed]:.2f} and {found.b.by_seed[seed]:.2f}" for seed in shared]
    if len(values) > 1:
        yield f"Seed by seed, {a} and {b}: {'; '.join(values)}."


# By seed.


def _seeds(result: Result, found: MetricResult, options: Options) -> Iterator[str]:
    seeds, names = found.seeds, result.pair.names
    if seeds is None:
        yield "No test by seed: it needs two seeds that both have."
        return
    yield _t_test(seeds.test, names)
    yield _adjusted(seeds, result.family)
    yield _power(seeds)
    yield _ranks(seeds)
    yield _improvement(seeds.improvement, seeds.test.n, names)
    if seeds.equivalence:
        interval = interval_text(*seeds.equivalence.interval)
        shown = "they are" if seeds.equivalence.shown else "not shown"
        yield (
            f"Equal to within {options.margin:g} points? {shown.capitalize()}: 90 % interval {interval}, TOST "
            f"{p_text(seeds.equivalence.p)}, not adjusted."
        )


def _t_test(test: PairedTest, names: tuple[str, str]) -> str:
    what = f"By seed, {names[0]} - {names[1]}: {signed(test.mean_difference)}"
    if test.constant:
        return f"{what} in each of {test.n} seeds."
    interval = interval_text(test.low, test.high)
    return (
        f"{what}, 95 % interval {interval}; paired t-test over {test.n} seeds, two-sided, t({test.df}) = {test.t:.2f}, "
        f"{p_text(test.p)}. {_correlation(test)}"
    )


def _correlation(test: PairedTest) -> str:
    if test.correlation is None:
        return "How the two go together over seeds cannot be told from so few."
    bought = next(words for least, words in PAIRING if test.correlation >= least)
    return f"Over seeds the two correlate by {test.correlation:.2f}: {bought}."


def _adjusted(seeds: BySeed, family: str) -> str:
    if seeds.adjusted is None:
        return "This p is not adjusted: the metric is secondary, or no other test belongs to it."
    holm, bh = (p_text(p) for p in seeds.adjusted)
    return f"Adjusted over {family}: Holm {holm} (for claims), Benjamini-Hochberg {bh} (for exploration)."


def _power(seeds: BySeed) -> str:
    test = seeds.test
    if test.effect is None:
        return "No effect size: the differences do not vary."
    size = f"Effect: {test.effect:.2f} standard deviations of the differences by seed"
    size += f", 95 % interval {interval_text(*seeds.effect)}." if seeds.effect else "."
    wanted = f" To find the effect that was seen takes {seeds.needed} seeds." if seeds.needed else ""
    return (
        f"{size} With {test.n} seeds, a true difference is found four times out of five only from "
        f"{seeds.detects:.2f} points on, before any adjustment.{wanted}"
    )


def _ranks(seeds: BySeed) -> str:
    n = seeds.test.n
    if n < SMALLEST_RANKED:
        return (
            f"Rank and sign tests are silent: with {n} seeds their smallest p is {2 / 2**n:g}; they can speak from "
            f"{SMALLEST_RANKED} seeds on."
        )
    tests = {"sign flips": seeds.sign_flip, "Wilcoxon's signed ranks": seeds.wilcoxon}
    told = [f"{name} {p_text(p) if p is not None else 'silent: too many ties'}" for name, p in tests.items()]
    weak = "" if n >= RANKED_BESIDE else f" With fewer than {RANKED_BESIDE} seeds, trust t first."
    return f"Exact tests: {', '.join(told)}.{weak}"


def _improvement(found: Improvement, n: int, names: tuple[str, str]) -> str:
    low, high = found.interval
    if n >= FEW and found.meaningful:
        weight = f"A meaningful improvement: {WORTHWHILE:g} at least, and told from 0.5."
    else:
        weight = (
            f"To be sure of a meaningful improvement, {WORTHWHILE:g} at least and told from 0.5, takes about "
            f"{pairs_for_improvement()} seeds."
        )
    return (
        f"A random seed of {names[0]} beats one of {names[1]} with probability {found.probability:.2f}, 95 % interval "
        f"{interval_text(low, high)}. {weight}"
    )


# By image.


def _images(pair: Pair, found: MetricResult) -> Iterator[str]:
    if found.metric in CORRUPTED:
        yield "No test by image: corrupted copies of one image do not count as several images."
        return
    if found.images is None:
        yield "No test by image: the per-image outcomes are not in the store (`bench run` computes them again)."
        return
    for seed, test in found.images.mcnemar.items():
        yield _mcnemar(seed, test, pair.names)
    both = found.images.bootstrap
    yield (
        f"Seeds and images together: {signed(both.difference)}, 95 % interval {interval_text(*both.interval)} "
        f"(bootstrap, {both.draws} draws of {both.seeds} pairs of seeds and of {both.images} images that all share)."
    )


def _mcnemar(seed: int, test: McNemar, names: tuple[str, str]) -> str:
    return (
        f"By image, the two models of seed {seed}: only {names[0]} is right on {test.only_a} of {test.images}, only "
        f"{names[1]} on {test.only_b}: {signed(test.difference)}, 95 % interval {interval_text(*test.interval)}; exact "
        f"McNemar {p_text(test.p)}."
    )


# What it cannot say.


def caveats(result: Result) -> Iterator[str]:
    """What a reader must know before he quotes any of it."""
    pair, tested = result.pair, [found.seeds for found in result.metrics if found.seeds]
    if tested:
        yield f"Not significant is not equal, significant (p < {ALPHA:g}) is not large: read the intervals, in points."
    if any(seeds.test.n < FEW for seeds in tested):
        yield f"With fewer than {FEW} seeds, bootstrap intervals are too short: prefer the t interval."
    if any(found.images for found in result.metrics):
        yield "McNemar's test is about the trained models of one seed, not about the methods."
    if {"ra_pgd20", "pgd20"} & {found.metric for found in result.metrics}:
        yield "PGD-20 is no stand-in for AutoAttack: rank methods by AA."
    if WORST in {found.metric for found in result.metrics}:
        yield f"The worst case is over {', '.join(sorted(worst_over(pair.a)))}: more attacks only lower it."
    if pair.encoders is not None:
        yield "The encoders are the same: what differs comes from heads and attacks alone."
    yield from _unequal(pair)
    for name, rows in zip(pair.names, (pair.a, pair.b), strict=True):
        yield from (f"{name}: {text}." for text in of_method(rows))
        if failed := sorted({seed for found in result.metrics for seed in failed_seeds(rows, found.metric)}):
            yield f"{name}: seeds {', '.join(map(str, failed))} failed; the numbers are of the others."


def _unequal(pair: Pair) -> Iterator[str]:
    first, second = pair.settings
    if first != second:
        yield "The two were pre-trained under different settings, so it is not the method alone that differs."
    if first.limited or second.limited:
        yield "Images were left out (--limit): not comparable with full results."
    if "quick" in (first.schedule, second.schedule):
        yield "The schedule quick is a smoke test: no evidence for or against a paper."
    seeds = [set(map(tuple, rows[list(SEEDS)].astype(int).to_numpy())) for rows in (pair.a, pair.b)]
    if seeds[0] != seeds[1]:
        yield "The two do not have the same seeds: tests by seed are on those that both have."


# For programs.


def as_data(results: Sequence[Result], options: Options) -> str:
    """JSON text: a list with an object per pair, everything that the words say and the words' conclusions."""
    return json.dumps([_data(result, options) for result in results], indent=1, ensure_ascii=False) + "\n"


def _data(result: Result, options: Options) -> dict[str, Any]:
    pair = result.pair
    return {
        "a": pair.names[0],
        "b": pair.names[1],
        "dataset": pair.dataset,
        "protocol": pair.protocol,
        "settings": [asdict(setting) for setting in pair.settings],
        "margin": options.margin,
        "family": result.family,
        "metrics": [_metric_data(pair, found, options) for found in result.metrics],
        "caveats": list(caveats(result)),
    }


def _metric_data(pair: Pair, found: MetricResult, options: Options) -> dict[str, Any]:
    content = asdict(found)
    if found.seeds:
        content["seeds"]["told_apart"] = found.seeds.told_apart
        content["seeds"]["adjusted"] = found.seeds.adjusted._asdict() if found.seeds.adjusted else None
        if found.seeds.test.constant:
            content["seeds"]["test"]["t"] = None  # Infinite, which JSON has no word for.
    return {**content, "conclusion": " ".join(_conclusion(pair, found, options))}
