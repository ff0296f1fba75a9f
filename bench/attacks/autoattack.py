"""AutoAttack (Croce & Hein 2020, arXiv:2003.01690) through `pyautoattack`, quiet and without traces.

APGD-CE, targeted APGD-DLR, targeted FAB and Square, or some of them; each attacks the survivors of the one before.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyautoattack import AutoAttack, checks
from torch import Tensor

from bench.attacks.rounds import Perturb, Procedure, Round, Target
from bench.attacks.threats import AttackSpec, Part, Version, check_classes


@contextmanager
def autoattack(target: Target, spec: AttackSpec, *, seed: int, warn: Callable[[str], None]) -> Iterator[Procedure]:
    """AutoAttack in the ball of `target`, to be carried out inside the block, quietly.

    Its attacks, their settings in each norm and its checks are the package's; the order in which images meet them is
    that of its `run_standard_evaluation`. It seeds torch's global generators: wrap it in `Randomness.as_global`.

    Args:
        target: whom it attacks.
        spec: its parts and their version, and how many images are attacked together, which the result depends on.
        seed: of every attack and batch.
        warn: called once with each of its warnings.

    Raises:
        BenchError: if there are fewer classes than the parts need.
    """
    check_classes(spec, target.classifier.classes)
    with listening(warn) as logger:
        package = _package(target, spec, seed)
        rounds = [Round(name, _perturb(attack, target, seed), spares_fallen=True) for name, attack in _attacks(package)]
        yield Procedure(
            rounds,
            before=lambda _: _inspect(package, target, spec.batch),
            after=lambda course: checks.check_square_sr(course.accuracies, logger=logger),
        )


def _package(target: Target, spec: AttackSpec, seed: int) -> AutoAttack:
    """The package's object for a spec, with all other classes as targets where they are fewer than it would take."""
    parts = [str(part) for part in spec.parts or Part]
    custom = {"attacks": parts} if spec.version is Version.CUSTOM else {}
    device, norm = target.x.device, target.norm.label
    package = AutoAttack(
        target.classifier, eps=target.eps, norm=norm, seed=seed, version=str(spec.version), device=device, **custom
    )
    package.attacks_to_run = parts
    for targeted in (package.apgd_targeted, package.fab):
        targeted.n_target_classes = min(targeted.n_target_classes, target.classifier.classes - 1)
    return package


def _attacks(package: AutoAttack) -> list[tuple[str, Any]]:
    """The attacks to run, set up as `run_standard_evaluation` does it."""
    package.apgd.loss = "ce"
    package.fab.targeted, package.fab.n_restarts = True, 1
    own = {
        Part.APGD_CE: package.apgd,
        Part.APGD_T: package.apgd_targeted,
        Part.FAB_T: package.fab,
        Part.SQUARE: package.square,
    }
    return [(name, own[Part(name)]) for name in package.attacks_to_run]


def _perturb(attack: Any, target: Target, seed: int) -> Perturb:
    def perturb(index: Tensor, _: int) -> Tensor:
        attack.seed = seed  # Each batch starts from it.
        with torch.no_grad():
            adversarial: Tensor = attack.perturb(target.x[index], target.y[index])
        return adversarial

    return perturb


def _inspect(package: AutoAttack, target: Target, batch: int) -> None:
    """The package's checks of the classifier: for randomness, probabilities, a defence that adapts."""
    x, y, logger = target.x[:batch], target.y[:batch], package.logger
    checks.check_randomized(package.get_logits, x, y, bs=batch, logger=logger)
    classes = checks.check_range_output(package.get_logits, x, logger=logger)
    with tracing_restored():
        checks.funcs.update(dict.fromkeys(checks.funcs, 0))  # It counts on from classifier to classifier.
        checks.check_dynamic(package.model, x, False, logger=logger)
    targets = package.apgd_targeted.n_target_classes, package.fab.n_target_classes
    checks.check_n_classes(classes, package.attacks_to_run, *targets, logger=logger)


@contextmanager
def tracing_restored() -> Iterator[None]:
    """AutoAttack's check for dynamic defences ends by switching off whatever traces the program, a debugger say."""
    trace = sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(trace)


class Warnings(logging.Handler):
    """Hands the warnings of a log on, each distinct one once."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.warn = warn
        self.warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one line."""
        line = record.getMessage()
        if line not in self.warned:
            self.warned.add(line)
            self.warn(line)


@contextmanager
def listening(warn: Callable[[str], None]) -> Iterator[logging.Logger]:
    """AutoAttack's logger, whose warnings go to `warn` inside the block; nothing reaches the terminal."""
    logger = logging.getLogger("auto-attack")
    level, propagate, handlers = logger.level, logger.propagate, logger.handlers
    logger.handlers, logger.propagate = [Warnings(warn)], False
    logger.setLevel(logging.WARNING)
    try:
        yield logger
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
