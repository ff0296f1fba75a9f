"""AutoAttack (Croce & Hein 2020, arXiv:2003.01690) through `pyautoattack`, quiet and without traces."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyautoattack import AutoAttack
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.contract import Report
from bench.errors import BenchError

ATTACKS = 4
"""APGD-CE, targeted APGD-DLR, targeted FAB, Square: each attacks the survivors of the one before."""
TARGETS = 9
"""Target classes of the two targeted attacks, or all others where there are fewer."""
MIN_CLASSES = 4


def check_classes(classes: int) -> None:
    """Whether version `standard` is defined for so many classes.

    Raises:
        BenchError: if there are fewer than four.
    """
    if classes < MIN_CLASSES:
        raise BenchError(
            f"metric 'aa' is not defined for {classes} classes: the targeted DLR loss of AutoAttack compares the "
            f"largest logit with the third and fourth, so it needs at least {MIN_CLASSES}. "
            "Use data with 4 classes or more."
        )


def standard(classifier: Classifier, x: Tensor, y: Tensor, *, eps: float, seed: int, batch: int) -> Tensor:
    """The images after AutoAttack `standard` in the l_inf ball; those that it cannot break are returned as they are.

    It seeds torch's global generators: wrap it in `Randomness.as_global`.

    Args:
        classifier: pixels to logits.
        x: [N, 3, H, W] in [0, 1].
        y: int64 [N].
        eps: radius of the ball.
        seed: of every attack and batch.
        batch: images attacked together; the result depends on it.
    """
    attack = AutoAttack(classifier, norm="Linf", eps=eps, seed=seed, version="standard", device=x.device)
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(TARGETS, classifier.classes - 1)
    with tracing_restored():
        adversarial: Tensor = attack.run_standard_evaluation(x, y, batch_size=batch)[0]
    return adversarial


@contextmanager
def tracing_restored() -> Iterator[None]:
    """AutoAttack's check for dynamic defences ends by switching off whatever traces the program, a debugger say."""
    trace = sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(trace)


class Listener(logging.Handler):
    """Turns AutoAttack's log into progress and warnings; nothing reaches the terminal.

    Args:
        report: progress, in percent: an attack is a quarter of the way.
        warn: called once per distinct warning.
    """

    BATCH = re.compile(r"(?P<attack>\S+) - (?P<number>\d+)/(?P<batches>\d+) - ")

    def __init__(self, report: Report, warn: Callable[[str], None]) -> None:
        super().__init__(logging.DEBUG)
        self.report, self.warn = report, warn
        self.finished = 0
        self.warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Sort one line of the log."""
        line = record.getMessage()
        if record.levelno >= logging.WARNING:
            self._warn_once(line)
        elif line.startswith("robust accuracy after"):
            self.finished += 1
        elif found := self.BATCH.match(line):
            share = self.finished + int(found["number"]) / int(found["batches"])
            self.report(round(100 * share / ATTACKS), 100, found["attack"])

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Be the one handler of the logger inside the block."""
        logger = logging.getLogger("auto-attack")
        level, propagate, handlers = logger.level, logger.propagate, logger.handlers
        logger.handlers, logger.propagate = [self], False
        logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)

    def _warn_once(self, line: str) -> None:
        if line not in self.warned:
            self.warned.add(line)
            self.warn(line)
