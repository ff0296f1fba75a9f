"""A budget of encoder passes, cut into epochs of a method and of what it builds on. Pure; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BenchError

ROUNDING = 1e-9
"""Of a share that is a whole number of epochs but for its last bits."""


@dataclass(frozen=True)
class Trained:
    """One pre-training of a method's lineage.

    Attributes:
        name: as `--methods` takes it.
        passes: of the encoder per image and epoch.
        epochs: its own length, of the schedule.
        fixed: whether its options name its epochs, which stay then.
    """

    name: str
    passes: float
    epochs: int
    fixed: bool = False


def epochs_within(budget: float, own: Trained, upstreams: Sequence[Trained] = ()) -> Mapping[str, int]:
    """The epochs of each that together cost at most `budget` passes per image, and less than one epoch of `own` less.

    A method and its upstreams are lengthened or shortened alike, in proportion to their own lengths: a recipe of 1000
    epochs of SimCLR and 200 on top of it is one recipe, whose balance is its authors' choice and not the budget's.
    Upstreams are rounded down, to one epoch at least, and the method takes what is left, so that rounding costs it less
    than one of its epochs. What an option fixes is paid for first.

    Args:
        budget: passes per pre-training image over the whole run.
        own: the method that is compared.
        upstreams: what it builds on, each once.

    Raises:
        BenchError: if the epochs of `own` are fixed, or the budget is less than one epoch of each.
    """
    if own.fixed:
        raise BenchError(f"'{own.name}' names its epochs, and --budget is to choose them: leave one of the two out.")
    scaled = [one for one in upstreams if not one.fixed]
    found = {one.name: one.epochs for one in upstreams if one.fixed}
    paid = sum(one.passes * one.epochs for one in upstreams if one.fixed)
    _check_enough(budget, paid + sum(one.passes for one in (own, *scaled)), own, upstreams)
    rest = budget - paid
    share = rest / sum(one.passes * one.epochs for one in (own, *scaled))
    for number, one in enumerate(scaled):
        kept = own.passes + sum(later.passes for later in scaled[number + 1 :])  # An epoch of each that is to come.
        found[one.name] = max(1, min(_whole(one.epochs * share), _whole((rest - kept) / one.passes)))
        rest -= one.passes * found[one.name]
    return {**found, own.name: _whole(rest / own.passes)}


def _whole(epochs: float) -> int:
    return math.floor(epochs + ROUNDING)


def _check_enough(budget: float, least: float, own: Trained, upstreams: Sequence[Trained]) -> None:
    if budget + ROUNDING < least:
        parts = ", ".join(
            f"{one.name} {one.passes:g}" + (f" in each of its {one.epochs}" if one.fixed else "")
            for one in (*upstreams, own)
        )
        raise BenchError(
            f"a budget of {budget:g} passes per image is less than one epoch of '{own.name}' and of all that it builds "
            f"on takes ({parts}): give --budget {math.ceil(least)} or more."
        )
