"""What is known of a data set before any image is read. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import unknown

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class DataProfile:
    """The facts that `like=NAME` lends to a folder or a Parquet file: paper settings, normalisation, eps.

    Attributes:
        name: the data set whose paper settings and legacy rates apply.
        classes: number of classes of the labelled part.
        image_size: side of the square images, in pixels.
        mean, std: per channel, of pixels in [0, 1].
        eps: the default l_inf budget of attacks, in units of [0, 1] pixels.
    """

    name: str
    classes: int
    image_size: int
    mean: Channels
    std: Channels
    eps: float = 8 / 255


PROFILES: Mapping[str, DataProfile] = {
    profile.name: profile
    for profile in (
        # eps: the smallest tried at which undefended `simclr` falls on the held-out slice. AutoAttack leaves it
        # 18 % at .1 and 0.2 % at .15 (seeds 100-102, tests/studies/held_out.py).
        DataProfile("digits", 10, 8, (0.3052, 0.3052, 0.3052), (0.3759, 0.3759, 0.3759), eps=0.15),
        # Statistics as solo-learn and NCP-ACL's stage 1 use them (solo-learn pretrain_dataloader.py:206-209).
        DataProfile("cifar10", 10, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        DataProfile("cifar100", 100, 32, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        DataProfile("stl10", 10, 96, (0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)),
    )
}


def profile_of(name: str) -> DataProfile:
    """The profile called `name`.

    Raises:
        BenchError: if there is none; the message lists the choices.
    """
    if name not in PROFILES:
        raise unknown("data set", name, PROFILES)
    return PROFILES[name]
