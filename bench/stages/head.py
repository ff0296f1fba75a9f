"""A head on a frozen encoder."""

from __future__ import annotations

from bench.contract import Checkpoints, Encoder, NoCheckpoints, Report
from bench.data.sources import DataSet
from bench.protocols.heads import FittedHead, HeadContext, fit_head
from bench.protocols.recipes import HeadRecipe
from bench.randomness import Randomness


def head(
    encoder: Encoder,
    data: DataSet,
    recipe: HeadRecipe,
    eps: float,
    rate: float | None,
    seed: int,
    report: Report,
    checkpoints: Checkpoints | None = None,
) -> FittedHead:
    """The recipe's head; `rate` is the one that another protocol chose, where the recipe takes it over."""
    device = data.train.pixels.device
    context = HeadContext(Randomness(seed, "head"), device, report, eps, rate, checkpoints or NoCheckpoints())
    return fit_head(encoder, data, recipe, context)
