"""A small method that keeps every promise, and one for each promise that breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from bench.attacks.pgd import AttackMode, LinfPGD, ascend, undisturbed, uniform_start
from bench.config import EpochLength, MethodConfig, Positive, TrainingConfig
from bench.contract import Encoder, Method, Passes, Run, UnlabelledImages
from bench.data.loading import data_set
from bench.data.profiles import DataProfile
from bench.data.views import HorizontalFlip, Views
from bench.engine.loop import Batch, TrainingMethod, Update
from bench.engine.schedules import Schedule, WarmupCosine
from bench.models.encoder import Normalise
from bench.plan import DataRef


class Small(Encoder):
    """Normalisation, a layer, a batch norm."""

    def __init__(self, profile: DataProfile) -> None:
        super().__init__()
        self.routes, self.active_route = ("main",), "main"
        self.normalise = Normalise(profile.mean, profile.std)
        self.linear = nn.Linear(3 * profile.image_size**2, 8)
        self.norm = nn.BatchNorm1d(8)

    def encode(self, x: Tensor) -> Tensor:
        features: Tensor = self.norm(self.linear(self.normalise(x).flatten(1)))
        return features


class Settings(TrainingConfig):
    """Settings of the method that keeps every promise."""

    epochs: EpochLength = 8
    """Chosen."""
    batch_size: int = 32
    """Chosen."""
    warmup: EpochLength = 1
    """Chosen."""
    eps: Positive = 0.1
    """Chosen."""


def contrast(z: Tensor, other: Tensor) -> Tensor:
    """InfoNCE of a batch."""
    return cross_entropy(normalize(z, dim=1) @ normalize(other, dim=1).T / 0.5, torch.arange(len(z)))


class Sound(TrainingMethod[Any, Any]):
    """Contrast of a view and a perturbed one."""

    name = "sound"
    Config: ClassVar[type[MethodConfig]] = Settings
    PAPER: ClassVar[Mapping[str, MethodConfig]] = {"cifar10": Settings(epochs=40, warmup=4)}
    QUICK: ClassVar[Mapping[str, MethodConfig]] = {"digits": Settings()}
    network: type[Encoder] = Small

    def passes(self) -> Passes | None:
        return Passes(forward=1 + 2 + 2, backward_input=2, backward=2)

    def encoder(self, profile: DataProfile) -> Encoder:
        return self.network(profile)  # type: ignore[call-arg]

    def build(self, images: UnlabelledImages, run: Run) -> nn.Module:
        return self.encoder(images.profile)

    def optimiser(self, net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def learning_rate(self) -> Schedule:
        return WarmupCosine(peak=0.1, warmup_epochs=0)

    def step(self, net: Any, batch: Batch, update: Update) -> None:
        x = self.view(batch)
        x_adv = self.perturb(net, x, batch)
        update(contrast(net.encode(x_adv), net.encode(x)))

    def view(self, batch: Batch) -> Tensor:
        return Views(HorizontalFlip(0.5))(batch.pixels, batch.generator("view"))

    def perturb(self, net: Any, x: Tensor, batch: Batch) -> Tensor:
        start = uniform_start(x, self.config.eps, batch.generator("attack"), clip=True)
        with undisturbed(net):
            with torch.no_grad():
                z = net.encode(x)
            return ascend(lambda x: contrast(net.encode(x), z), x, start, LinfPGD(self.config.eps, 2, 0.05))

    def export(self, net: Any) -> Encoder:
        encoder: Encoder = net
        return encoder


class Unexplained(Sound):
    class Config(Settings):
        width: int = 4

    PAPER = {}
    QUICK = {"digits": Config()}


class Open(Sound):
    class Config(Settings):
        model_config = {"extra": "ignore"}

    PAPER = {}
    QUICK = {"digits": Config()}


class Thawed(Sound):
    class Config(Settings):
        model_config = {"frozen": False}

    PAPER = {}
    QUICK = {"digits": Config()}


class Forgetful(Sound):
    class Config(Settings):
        def model_dump(self, **options: Any) -> dict[str, Any]:
            return super().model_dump(**options) | ({"warmup": 1} if options.get("mode") == "json" else {})

    PAPER = {}
    QUICK = {"digits": Config(warmup=3)}


class ForOtherImages(Sound):
    def encoder(self, profile: DataProfile) -> Encoder:
        return Small(DataProfile("digits", 10, 8, profile.mean, profile.std))


class Rigid(Sound):
    class Config(Settings):
        def with_epochs(self, epochs: int) -> Any:
            return self.model_copy(update={"epochs": epochs})

    PAPER = {"cifar10": Config(epochs=40, warmup=4)}
    QUICK = {}


class Raises(Sound):
    def step(self, net: Any, batch: Batch, update: Update) -> None:
        raise ZeroDivisionError("in the middle of nowhere")


class Unflattened(Sound):
    class network(Small):
        def encode(self, x: Tensor) -> Tensor:
            return super().encode(x).view(len(x), 2, 4)

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        return self.encoder(images.profile)


class NotANumber(Sound):
    class network(Small):
        def encode(self, x: Tensor) -> Tensor:
            return super().encode(x) / (0.0 if len(x) == 16 else 1.0)


class Left(Sound):
    """Statistics that no buffer holds are lost on the way to the store."""

    class network(Small):
        shift = 0.0

        def encode(self, x: Tensor) -> Tensor:
            self.shift = 1.0 if self.training else self.shift
            return super().encode(x) + self.shift


class Crowded(Sound):
    class network(Small):
        def encode(self, x: Tensor) -> Tensor:
            z = super().encode(x)
            return z - z.mean(dim=0)


class Counting(Sound):
    class network(Small):
        def __init__(self, profile: DataProfile) -> None:
            super().__init__(profile)
            self.register_buffer("calls", torch.zeros(()))

        def encode(self, x: Tensor) -> Tensor:
            if not self.training:
                self.calls += 1
            return super().encode(x)


class Rounded(Sound):
    class network(Small):
        def encode(self, x: Tensor) -> Tensor:
            return super().encode(x if self.training else x.round())


class Collapsed(Sound):
    class network(Small):
        def encode(self, x: Tensor) -> Tensor:
            z = super().encode(x)
            return z if self.training or torch.is_grad_enabled() else z.mean() * 0 + torch.ones_like(z)


class NormalisedTwice(Sound):
    class network(Small):
        def encode(self, x: Tensor) -> Tensor:
            return super().encode(self.normalise(x))


class NormalisedBefore(Sound):
    def view(self, batch: Batch) -> Tensor:
        return (batch.pixels - 0.3) / 0.3


class Careless(Sound):
    def view(self, batch: Batch) -> Tensor:
        return (batch.pixels + 0.1 * torch.rand_like(batch.pixels)).clamp(0, 1)


class Stubborn(Sound):
    """One initialisation, and no learning to speak of."""

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.encoder(images.profile)


class Stateful(Sound):
    """What its steps do hangs on a number that no checkpoint holds."""

    done = 0

    def view(self, batch: Batch) -> Tensor:
        self.done += 1
        return (batch.pixels * 0.9**self.done).clamp(0, 1)


class Peeking(Sound):
    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        from pathlib import Path

        self.classes = data_set(DataRef("digits", "train=64"), Path("data")).train.labels
        return super().pretrain(images, run)


class Wide(Sound):
    def perturb(self, net: Any, x: Tensor, batch: Batch) -> Tensor:
        return (x + 3 * (super().perturb(net, x, batch) - x)).clamp(0, 1)


class Unclamped(Sound):
    def perturb(self, net: Any, x: Tensor, batch: Batch) -> Tensor:
        return x + self.config.eps * torch.ones_like(x)

    def passes(self) -> Passes:
        return Passes(forward=2, backward=2)


class MovesStatistics(Sound):
    def perturb(self, net: Any, x: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            net.encode(x)
        return super().perturb(net, x, batch)


class LeavesEvalMode(Sound):
    def perturb(self, net: Any, x: Tensor, batch: Batch) -> Tensor:
        image = super().perturb(net, x, batch)
        net.norm.eval()
        return image


class LeavesGradients(Sound):
    def perturb(self, net: Any, x: Tensor, batch: Batch) -> Tensor:
        image = super().perturb(net, x, batch)
        for weight in net.parameters():
            weight.grad = torch.ones_like(weight)
        return image


class DeclaresTrainMode(Sound):
    """It says that its attack moves running statistics, and it does not."""

    class Config(Settings):
        attack_mode: AttackMode = AttackMode.TRAIN
        """Chosen."""

    PAPER = {}
    QUICK = {"digits": Config()}


class Idle(Sound):
    """A parameter that no loss sees."""

    class network(Small):
        def __init__(self, profile: DataProfile) -> None:
            super().__init__(profile)
            self.spare = nn.Parameter(torch.ones(3))


class Forgotten(Sound):
    """A parameter that no optimiser holds."""

    def optimiser(self, net: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.linear.parameters(), lr=0.1)


class Uphill(Sound):
    def optimiser(self, net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), lr=0.1, maximize=True)


class Cheap(Sound):
    def passes(self) -> Passes:
        return Passes(forward=2, backward=2)


PLANTS: Mapping[str, tuple[type[Method[Any]], ...]] = {
    "settings-explained": (Unexplained,),
    "settings-closed": (Open, Thawed),
    "settings-survive": (Forgetful,),
    "settings-build": (ForOtherImages,),
    "settings-scale": (Rigid,),
    "trains": (Raises,),
    "shapes": (Unflattened,),
    "finite": (NotANumber,),
    "state-round-trip": (Left,),
    "batch-mates": (Crowded,),
    "encoding-leaves-no-trace": (Counting,),
    "gradients-reach-input": (Rounded,),
    "features-differ": (Collapsed,),
    "one-normalisation": (NormalisedTwice,),
    "pixels": (NormalisedBefore,),
    "same-seed": (Careless,),
    "other-seed": (Stubborn,),
    "resume": (Stateful,),
    "no-label": (Peeking,),
    "attack-budget": (Wide, Unclamped),
    "attack-trace": (MovesStatistics, LeavesEvalMode, LeavesGradients, DeclaresTrainMode),
    "all-trained": (Idle, Forgotten),
    "loss-falls": (Uphill,),
    "costs": (Cheap,),
}
"""For each check the methods that break what it looks at."""
