"""Throw-away methods and protocols: a whole sweep in milliseconds."""

from __future__ import annotations

from pathlib import Path
from string import Template

from PIL import Image

from bench.attacks.threats import CLEAN, AttackKind, AttackSpec, Metric
from bench.protocols.recipes import HeadRecipe, Objective, Protocol

METHOD = Template('''
import os, time
from pathlib import Path
from torch import nn
from bench.config import MethodConfig
from bench.contract import Encoder, Method, Upstream
$imports

class Settings(MethodConfig):
    width: int = 4

class Flat(Encoder):
    """Pixels times a matrix."""
    def __init__(self, pixels, width):
        super().__init__()
        self.routes, self.active_route, self.linear = ("main",), "main", nn.Linear(pixels, width)

    def encode(self, x):
        return self.linear(x.flatten(1))

class Mine(Method[Settings]):
    name = "$name"
    Config = Settings
    QUICK = {"digits": Settings()}

    def encoder(self, profile):
        return Flat(3 * profile.image_size**2, self.config.width)

    def pretrain(self, images, run):
        with run.randomness.as_global("initialisation"):
            encoder = self.encoder(images.profile)
        seed = run.randomness.seed
        $body
        return encoder
$more
''')
PGD2 = AttackSpec("pgd2", Metric.RA_PGD20, AttackKind.PGD, steps=2, step_fraction=1 / 4)
CHEAP = Protocol("cheap", 1, HeadRecipe(rates=(0.1, 1.0), epochs=2), (CLEAN, PGD2), legacy=False, why="")
CHEAP_ALF = Protocol(
    "cheap-alf", 1, HeadRecipe(rate_from="cheap", objective=Objective.ADVERSARIAL, epochs=2), (CLEAN,), False, why=""
)


def write_method(
    folder: Path, name: str = "mine", *, body: str = "pass", more: str = "", imports: str = "", file: str = ""
) -> str:
    """Write a method whose `pretrain` also does `body` and whose class ends with `more`; returns how to call it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (file or f"{name}.py")
    path.write_text(METHOD.substitute(name=name, body=body, more=more, imports=imports))
    return str(path)


def write_images(folder: Path, *, side: int, train: int = 40, test: int = 20) -> Path:
    """Write a folder of images in four classes, told apart by their red; returns it."""
    for split, count in (("train", train), ("test", test)):
        for number in range(count):
            path = folder / split / f"class{number % 4}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (side, side), (60 * (number % 4), number, 200)).save(path)
    return folder


TRAINED = Template("""
import os, time
from torch import optim, rand_like
from torch.nn.functional import mse_loss
from bench.config import TrainingConfig
from bench.engine.loop import TrainingMethod
from bench.engine.schedules import WarmupCosine
from bench.models.encoder import resnet_encoder

class Settings(TrainingConfig):
    pass

class Trained(TrainingMethod[Settings, object]):
    name = "trained"
    Config = Settings
    QUICK = {"digits": Settings(epochs=3, batch_size=8)}

    def step(self, net, batch, update):
        $first
        noise = 0.1 * rand_like(batch.pixels)  # From the global generator.
        update(mse_loss(net(batch.pixels + noise), net(batch.pixels).detach()) + net(batch.pixels).square().mean())
        if path := os.environ.get("STEPS"):
            with open(path, "a") as file:
                file.write(f"{batch.epoch} {batch.step}\\n")
            time.sleep(0.1)
    def build(self, images, run):
        return self.encoder(images.profile)
    def encoder(self, profile):
        return resnet_encoder("small", profile)
    def optimiser(self, net):
        return optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    def learning_rate(self):
        return WarmupCosine(peak=0.1, warmup_epochs=0)
    def export(self, net):
        return net
""")
"""A method on the training loop that writes down its steps: 15 of them with 40 images."""


def write_trained(folder: Path, first: str = "pass") -> str:
    """Write the method `trained`, which does `first` before each step; returns how to call it."""
    path = folder / "trained.py"
    path.write_text(TRAINED.substitute(first=first))
    return f"{path}:Trained"
