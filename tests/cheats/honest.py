"""The undefended encoder that every cheat dresses up, handed on as it is: what each cheat must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from bench.config import MethodConfig
from bench.contract import Encoder, Method, Run, UnlabelledImages, Upstream
from bench.data.profiles import DataProfile
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.resnet import Architecture


class Settings(MethodConfig):
    """A cheat has nothing to set."""


class Dressed(Encoder):
    """An encoder around another one."""

    def __init__(self, victim: ResNetEncoder) -> None:
        super().__init__()
        self.victim = victim
        self.routes, self.active_route = victim.routes, victim.active_route

    def encode(self, x: Tensor) -> Tensor:
        return self.victim.encode(x)


class Honest(Method[Any]):
    """SimCLR's encoder, undefended."""

    name = "honest"
    Config = Settings
    QUICK: ClassVar[Mapping[str, MethodConfig]] = {"digits": Settings()}
    network: ClassVar[type[Dressed]] = Dressed

    def requires(self) -> Mapping[str, Upstream]:
        return {"victim": Upstream("simclr")}

    def encoder(self, profile: DataProfile) -> Encoder:
        return self.network(resnet_encoder(Architecture.SMALL, profile))

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        encoder = self.encoder(images.profile)
        encoder.victim.load_state_dict(run.upstream["victim"].state_dict())
        return encoder.to(run.device)
