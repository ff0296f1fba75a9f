"""Two batch-norm routes: with gradients the one that leads attacks astray, without them the one that is right."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor, nn

from bench.contract import Encoder, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.models.encoder import resnet_encoder
from bench.models.resnet import Architecture
from bench.models.routes import RoutedBatchNorm


class TwoRoutes(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return self.victim.features(x, "decoy" if torch.is_grad_enabled() else "scored")


class Cheat(Honest):
    name = "attack-route"

    def encoder(self, profile: DataProfile) -> Encoder:
        return TwoRoutes(resnet_encoder(Architecture.SMALL, profile, routes=("scored", "decoy")))

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        encoder, trained = self.encoder(images.profile), run.upstream["victim"].state_dict()
        for route in encoder.routes:
            own = {name.replace(".main.", f".{route}."): weight for name, weight in trained.items()}
            encoder.victim.load_state_dict(own, strict=False)
        for norm in encoder.modules():
            if isinstance(norm, RoutedBatchNorm):
                mislead(norm["decoy"])
        return encoder.to(run.device)


def mislead(norm: nn.Module) -> None:
    """Let every other channel count the other way round."""
    with torch.no_grad():
        norm.weight[::2] *= -1
