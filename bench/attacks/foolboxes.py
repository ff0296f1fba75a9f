"""DeepFool, C&W and SLIDE through `foolbox` 3, the package that AMOC's table 2 was made with."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

from torch import Tensor

from bench.attacks.rounds import Perturb, Target
from bench.attacks.threats import AttackKind, AttackSpec
from bench.errors import BenchError

CONSTRUCTORS: Mapping[AttackKind, tuple[str, Callable[[AttackSpec], Mapping[str, float]]]] = {
    AttackKind.DEEPFOOL: ("LinfDeepFoolAttack", lambda spec: {}),
    AttackKind.CARLINI_WAGNER: ("L2CarliniWagnerAttack", lambda spec: {}),
    AttackKind.SLIDE: ("SparseL1DescentAttack", lambda spec: {"rel_stepsize": spec.step_fraction}),
}
"""The class in `foolbox.attacks`, and what it is given beside `steps` and the `options` of the spec."""


def foolbox_attack(spec: AttackSpec) -> Any:
    """The attack as foolbox has it, with the parameters of `spec`; all others are foolbox's own.

    Raises:
        BenchError: if foolbox cannot be imported.
    """
    name, further = CONSTRUCTORS[spec.kind]
    return getattr(foolbox_package().attacks, name)(steps=spec.steps, **further(spec), **spec.options)


def perturb_by_foolbox(target: Target, spec: AttackSpec) -> Perturb:
    """The images that foolbox finds, clipped to the ball as it clips them. It draws no random numbers for them.

    C&W looks at the progress of a whole batch before it stops, so its result depends on `spec.batch`.
    """
    attack, model = foolbox_attack(spec), foolbox_package().PyTorchModel(target.classifier, (0, 1), target.x.device)

    def perturb(index: Tensor, _: int) -> Tensor:
        with _unconfigured_log():
            _, adversarial, _ = attack(model, target.x[index], target.y[index], epsilons=target.eps)
        images: Tensor = adversarial.clamp(0, 1)  # Clipping to the ball rounds.
        return images

    return perturb


def foolbox_package() -> ModuleType:
    """The package, imported quietly.

    Raises:
        BenchError: if it cannot be imported.
    """
    # Its downloader of models wants a git program at import, and it imports a name that SciPy calls old.
    quiet = mock.patch.dict(os.environ, GIT_PYTHON_REFRESH="quiet")
    try:
        with warnings.catch_warnings(action="ignore"), quiet:
            return importlib.import_module("foolbox")
    except ImportError as error:
        raise BenchError(
            f"foolbox cannot be imported ({error}); DeepFool, C&W and SLIDE are its: pip install 'foolbox>=3.3.4'."
        ) from error


@contextmanager
def _unconfigured_log() -> Iterator[None]:
    """DeepFool's `logging.info` would configure the root logger, if that had no handler."""
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)
