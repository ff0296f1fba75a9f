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


def robustbench_benchmark(target: Target, *, seed: int, batch: int) -> tuple[float, float]:
    """Clean and AutoAttack accuracy, in 0 .. 1, by `robustbench.eval.benchmark`.

    By itself that function loads CIFAR-10 and leaves AutoAttack unseeded; here it gets our images and a seed.

    Raises:
        BenchError: if robustbench cannot be imported.
    """
    evaluation = _robustbench("eval")
    images = mock.patch.object(evaluation, "load_clean_dataset", return_value=(target.x, target.y))
    attack = mock.patch.object(evaluation, "AutoAttack", _seeded(seed))
    with images, attack, contextlib.redirect_stdout(io.StringIO()):
        clean, robust = evaluation.benchmark(
            target.classifier, len(target.x), eps=target.eps, batch_size=batch, device=target.x.device
        )
    return float(clean), float(robust)


def _seeded(seed: int) -> type[pyautoattack.AutoAttack]:
    """AutoAttack with the arguments that robustbench passes and the seed that it does not."""

    class Adapter(pyautoattack.AutoAttack):  # type: ignore[misc]
        def __init__(self, model: Classifier, *, log_path: str | None = None, **options: Any) -> None:
            super().__init__(model, seed=seed, **options)

        def run_standard_evaluation(self, x: Tensor, y: Tensor, *, bs: int, state_path: None = None) -> Tensor:
            adversarial: Tensor = super().run_standard_evaluation(x, y, batch_size=bs)[0]
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
