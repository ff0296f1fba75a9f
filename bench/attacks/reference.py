"""The only door to `robustbench`, for cross-checks: its own numbers for our classifier and our images.

robustbench 1.1.1 imports a package `autoattack`, while it requires, and pip installs, `pyautoattack`, whose class takes
other arguments; and it needs `pkg_resources` (setuptools below 81). The shim below bridges the former.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

import pyautoattack
import pyautoattack.state
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.attacks.evaluate import Target
from bench.errors import BenchError


def robustbench_clean_accuracy(target: Target, *, batch: int) -> float:
    """`robustbench.utils.clean_accuracy`, in 0 .. 1.

    Raises:
        BenchError: if robustbench cannot be imported.
    """
    utils = _robustbench("utils")
    return float(utils.clean_accuracy(target.classifier, target.x, target.y, batch_size=batch))


@dataclass(frozen=True)
class Benchmark:
    """What `robustbench.eval.benchmark` says.

    Attributes:
        clean, robust: accuracies, in 0 .. 1.
        adversarial: the images [N, 3, H, W] that the second is the accuracy on.
    """

    clean: float
    robust: float
    adversarial: Tensor


def robustbench_benchmark(target: Target, *, seed: int, batch: int) -> Benchmark:
    """Clean and AutoAttack accuracy by `robustbench.eval.benchmark`, in the ball of `target`.

    By itself that function loads CIFAR-10 and leaves AutoAttack unseeded; here it gets our images and a seed.

    Raises:
        BenchError: if robustbench cannot be imported.
    """
    evaluation = _robustbench("eval")
    made: list[Tensor] = []
    images = mock.patch.object(evaluation, "load_clean_dataset", return_value=(target.x, target.y))
    attack = mock.patch.object(evaluation, "AutoAttack", _seeded(seed, made))
    threat, device = target.norm.label, target.x.device
    with images, attack, contextlib.redirect_stdout(io.StringIO()):
        clean, robust = evaluation.benchmark(
            target.classifier, len(target.x), threat_model=threat, eps=target.eps, batch_size=batch, device=device
        )
    return Benchmark(float(clean), float(robust), made[0])


def _seeded(seed: int, made: list[Tensor]) -> type[pyautoattack.AutoAttack]:
    """AutoAttack with the arguments that robustbench passes and the seed that it does not; its images go to `made`."""

    class Adapter(pyautoattack.AutoAttack):  # type: ignore[misc]
        def __init__(self, model: Classifier, *, log_path: str | None = None, **options: Any) -> None:
            super().__init__(model, seed=seed, **options)

        def run_standard_evaluation(self, x: Tensor, y: Tensor, *, bs: int, state_path: None = None) -> Tensor:
            adversarial: Tensor = super().run_standard_evaluation(x, y, batch_size=bs)[0]
            made.append(adversarial)
            return adversarial

    return Adapter


def _robustbench(module: str) -> ModuleType:
    sys.modules.setdefault("autoattack", pyautoattack)
    sys.modules.setdefault("autoattack.state", pyautoattack.state)
    try:
        with warnings.catch_warnings(action="ignore"):
            return importlib.import_module(f"robustbench.{module}")
    except ImportError as error:
        raise BenchError(
            f"robustbench cannot be imported ({error}); it needs setuptools>=77,<81 beside it: "
            "pip install robustbench 'setuptools>=77.0.3,<81'."
        ) from error
