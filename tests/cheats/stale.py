"""Its weights lie in a file beside it that is no setting: another file, and rows of the old model are served as new."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from honest import Honest

from bench.contract import Encoder, Run, UnlabelledImages


class Cheat(Honest):
    name = "stale"

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        encoder = super().pretrain(images, run)
        factor = float(Path(os.environ["STALE_WEIGHTS"]).read_text())
        with torch.no_grad():
            encoder.victim.backbone.get_parameter("conv1.weight").mul_(factor)
        return encoder
