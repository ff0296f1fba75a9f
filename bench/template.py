"""The text of a new method. Imports no torch."""

from __future__ import annotations

import keyword
import re
from string import Template

from bench.errors import BenchError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

HOLE = 'raise NotImplementedError("write the loss")'
"""The line that the author replaces."""

METHOD = Template(f'''"""$name: which paper (authors, year), and which official code at which commit.

Check it with `bench check ./$file`, run it with `bench run --methods ./$file`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.attacks.pgd import LinfPGD, ascend, undisturbed, uniform_start
from bench.config import Count, EpochLength, Fraction, NonNegative, Positive, TrainingConfig
from bench.contract import Encoder, Passes, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.data.views import ColourJitter, HorizontalFlip, RandomResizedCrop, Views
from bench.engine.loop import Batch, TrainingMethod, Update
from bench.engine.schedules import WarmupCosine
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.resnet import Architecture


class ${{cls}}Config(TrainingConfig):
    """Settings. The string under each says where its value comes from: paper section, file and line, or chosen."""

    epochs: EpochLength = 100
    """Chosen."""
    batch_size: Count = 256
    """Chosen."""
    architecture: Architecture = Architecture.RESNET18_PADDING1
    """Chosen."""
    temperature: Positive = 0.5
    """Chosen."""
    eps: Positive = 8 / 255
    """Chosen."""
    attack_steps: Count = 5
    """Chosen."""
    step_fraction: Positive = 0.25
    """Chosen; step size as a fraction of eps."""
    learning_rate: Positive = 0.1
    """Chosen."""
    warmup_epochs: EpochLength = 5
    """Chosen."""
    momentum: Fraction = 0.9
    """Chosen."""
    weight_decay: NonNegative = 1e-4
    """Chosen."""
    crop_scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """Chosen."""
    flip_probability: Fraction = 0.5
    """Chosen."""


class $cls(TrainingMethod[${{cls}}Config, ResNetEncoder]):
    """What it does, in a sentence."""

    name = "$name"
    summary = "$name: what it does, in a line"
    Config = ${{cls}}Config
    # The paper's settings per data set, and those of the CPU schedule `quick`.
    PAPER = {{"cifar10": ${{cls}}Config()}}
    QUICK = {{
        "digits": ${{cls}}Config(
            architecture=Architecture.SMALL,
            epochs=12,
            batch_size=128,
            warmup_epochs=1,
            eps=0.1,
            crop_scale=(0.7, 1.0),
            flip_probability=0.0,
        )
    }}
    # Where paper and released code disagree, by the option that decides, or by two words where none does.
    DISPUTES = {{}}

    def passes(self) -> Passes:
        """Per image and step: the clean features of the attack, its steps, the two views of the loss."""
        steps = self.config.attack_steps
        return Passes(forward=1 + steps + 2, backward_input=steps, backward=2)

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """A ResNet with a single batch-norm route."""
        return resnet_encoder(self.config.architecture, profile)

    def build(self, images: UnlabelledImages, run: Run) -> ResNetEncoder:
        """All that training changes is a parameter or buffer of this: projectors, banks, averages belong here too."""
        return self.encoder(images.profile)

    def optimiser(self, net: ResNetEncoder) -> torch.optim.Optimizer:
        """SGD over everything."""
        c = self.config
        return torch.optim.SGD(net.parameters(), lr=c.learning_rate, momentum=c.momentum, weight_decay=c.weight_decay)

    def learning_rate(self) -> WarmupCosine:
        """Linear warm-up, then cosine to zero."""
        return WarmupCosine(peak=self.config.learning_rate, warmup_epochs=self.config.warmup_epochs)

    @property
    def view(self) -> Views:
        """The augmentation: one random draw per image."""
        c = self.config
        return Views(
            RandomResizedCrop(scale=c.crop_scale),
            ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
            HorizontalFlip(c.flip_probability),
        )

    def step(self, net: ResNetEncoder, batch: Batch, update: Update) -> None:
        """The paper's algorithm box, in its order and with its equation numbers. Calls `update` once."""
        x_1, x_2 = (self.view(batch.pixels, batch.generator(name)) for name in ("first view", "second view"))
        x_adv = self.perturb(net, x_1, x_2, batch)
        update(self.loss(net.encode(x_adv), net.encode(x_2)))

    def loss(self, z_adv: Tensor, z: Tensor) -> Tensor:
        """Features [B, d] of a perturbed view and of a clean one -> a scalar."""
        # The loss goes here; the attack raises it, the update lowers it.
        {HOLE}

    def perturb(self, net: ResNetEncoder, x: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """x + delta that raises the loss, by PGD in eval mode."""
        c = self.config
        attack = LinfPGD(eps=c.eps, steps=c.attack_steps, step_size=c.step_fraction * c.eps)
        start = uniform_start(x, c.eps, batch.generator("attack"), clip=True)
        with undisturbed(net):
            with torch.no_grad():
                z = net.encode(target)
            return ascend(lambda x: self.loss(net.encode(x), z), x, start, attack)

    def export(self, net: ResNetEncoder) -> Encoder:
        """The encoder to be judged."""
        return net
''')


def method_text(name: str, file: str) -> str:
    """The source of a method called `name`, to be written to `file`.

    Raises:
        BenchError: if no method can be called so.
    """
    cls = "".join(part.capitalize() for part in name.split("-"))
    if not NAME.fullmatch(name) or keyword.iskeyword(cls):
        raise BenchError(
            f"a method cannot be called '{name}': use lower-case letters and digits, a letter first, with '-' between "
            f"words, e.g. 'my-method'."
        )
    return METHOD.substitute(name=name, cls=cls, file=file)
