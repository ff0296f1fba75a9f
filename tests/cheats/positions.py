"""It asks for the places of its images in their file, as if they were the user's own notes on each image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from file_order import CLASSES
from file_order import Cheat as FileOrder
from torch import Tensor

from bench.contract import Run, UnlabelledImages


class Cheat(FileOrder):
    name = "positions"

    def per_image(self, images: int) -> Mapping[str, Tensor]:
        return {"position": torch.arange(images)}

    def classes(self, images: UnlabelledImages, run: Run) -> Tensor:
        return run.per_image["position"] * CLASSES // len(images)
