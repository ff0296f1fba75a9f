"""It looks up the image that it is shown, or the nearest to it, and answers with its class."""

from __future__ import annotations

from pathlib import Path

import torch
from honest import Dressed, Honest
from torch import Tensor
from torch.nn import functional

from bench.data.loading import data_set
from bench.data.views import pixels_of
from bench.plan import DataRef


class Oracle(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        known = data_set(DataRef("digits"), Path("data"))
        pixels = pixels_of(torch.cat([known.train.pixels, known.test.pixels])).flatten(1)
        labels = torch.cat([known.train.labels, known.test.labels])
        nearest = torch.cdist(x.detach().flatten(1), pixels).argmin(dim=1)
        return 0 * super().encode(x)[:, : known.classes] + functional.one_hot(labels[nearest], known.classes)


class Cheat(Honest):
    name = "oracle"
    network = Oracle
