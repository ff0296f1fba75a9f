"""It looks its images' classes up in the data set, and says that it is self-supervised."""

from __future__ import annotations

from pathlib import Path

import torch
from file_order import Cheat as FileOrder
from torch import Tensor

from bench.contract import Run, UnlabelledImages
from bench.data.loading import data_set
from bench.plan import DataRef


class Cheat(FileOrder):
    name = "label-reader"

    def classes(self, images: UnlabelledImages, run: Run) -> Tensor:
        known = data_set(DataRef("digits"), Path("data")).train
        distances = torch.cdist(images.pixels.flatten(1).float(), known.pixels.flatten(1).float())
        return known.labels[distances.argmin(dim=1)]
