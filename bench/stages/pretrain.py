"""Images to an encoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.config import MethodConfig
from bench.contract import (
    Checkpoints,
    Encoder,
    LabelledImages,
    Method,
    NoCheckpoints,
    Record,
    Report,
    Run,
    UnlabelledImages,
)
from bench.errors import StageError
from bench.execution import Execution
from bench.randomness import Randomness


def pretrain(
    method: Method[MethodConfig],
    images: UnlabelledImages,
    upstream: Mapping[str, Encoder],
    seed: int,
    report: Report,
    record: Record,
    checkpoints: Checkpoints | None = None,
    execution: Execution = Execution.EAGER,
) -> Encoder:
    """The method's encoder, trained on the images in an order that says nothing of their classes.

    Raises:
        StageError: if the method is `labelled` and the images are not.
    """
    if method.labelled and not isinstance(images, LabelledImages):
        raise StageError(f"'{method.name}' trains on classes, and these images come without; give it labelled ones.")
    randomness = Randomness(seed, "pretrain")
    device = images.pixels.device
    frozen = {name: encoder.requires_grad_(False).eval() for name, encoder in upstream.items()}
    order = shuffle(len(images), randomness)
    per_image = {name: values[order].to(device) for name, values in method.per_image(len(images)).items()}
    run = Run(randomness, device, frozen, report, record, checkpoints or NoCheckpoints(), per_image, execution)
    with randomness.as_global("method"):  # A method that draws from the global generator repeats itself all the same.
        return method.pretrain(shuffled(images, randomness, labelled=method.labelled), run).eval()


def shuffled(images: UnlabelledImages, randomness: Randomness, *, labelled: bool = False) -> UnlabelledImages:
    """The images in an order of the seed's own: a folder per class would leak labels by position.

    Whatever comes in, classes go out only where they are asked for by `labelled`.
    """
    order = shuffle(len(images), randomness).to(images.pixels.device)
    if labelled and isinstance(images, LabelledImages):
        return LabelledImages(images.pixels[order], images.profile, images.labels[order])
    return UnlabelledImages(images.pixels[order], images.profile)


def shuffle(images: int, randomness: Randomness) -> Tensor:
    """The order in which a seed hands the images of a source to its methods: int64 [images], on the CPU."""
    return torch.randperm(images, generator=randomness.generator("shuffle"))
