"""A head on an encoder, which is frozen or trained along."""

from __future__ import annotations

from bench.contract import Checkpoints, Encoder, NoCheckpoints, Report
from bench.data.sources import DataSet
from bench.protocols.fitting import FittedHead, HeadContext
from bench.protocols.heads import fit_head
from bench.protocols.parts import HeadRecipe
from bench.randomness import Randomness


def head(
    encoder: Encoder,
    data: DataSet,
    recipe: HeadRecipe,
    eps: float,
    rate: float | None,
    start: FittedHead | None,
    seed: int,
    report: Report,
    checkpoints: Checkpoints | None = None,
) -> FittedHead:
    """The recipe's head; `rate` and `start` are what other protocols found, where the recipe takes them over."""
    device = data.train.pixels.device
    context = HeadContext(Randomness(seed, "head"), device, report, eps, rate, start, checkpoints or NoCheckpoints())
    return fit_head(encoder, data, recipe, context)
