"""The one training loop: a method brings network, step and optimiser, the loop brings order, numbers and care."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from bench.attacks.watch import watching_attacks
from bench.config import TrainingConfig
from bench.contract import Encoder, Method, Run, UnlabelledImages
from bench.data.views import pixels_of
from bench.engine.schedules import Schedule
from bench.engine.signs import attack_signs, signs_of_life
from bench.engine.state import Averages, TrainingState
from bench.errors import StageError
from bench.randomness import Randomness

TrainingConfigT = TypeVar("TrainingConfigT", bound=TrainingConfig)
NetT = TypeVar("NetT", bound=nn.Module)


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        pixels: float32 [B, 3, H, W] in [0, 1], not augmented.
        index: int64 [B], positions in the pre-training images.
        randomness, epoch, step: the axes of this step's random numbers.
    """

    pixels: Tensor
    index: Tensor
    randomness: Randomness
    epoch: int
    step: int

    def generator(self, purpose: str) -> torch.Generator:
        """A generator for `purpose` in this step, the same whatever was drawn before."""
        device = self.pixels.device
        return self.randomness.generator(purpose, epoch=self.epoch, step=self.step, device=device)


class Update(Protocol):
    """Backward pass and optimiser step on a loss; `parts` are averaged over the epoch and kept."""

    def __call__(self, loss: Tensor, **parts: Tensor) -> None:
        """One update; `loss` and `parts` are scalars."""
        ...


class TrainingMethod(Method[TrainingConfigT], Generic[TrainingConfigT, NetT]):
    """A method whose file holds only its algorithm.

    The method itself never changes. All that training changes is a parameter or buffer of the network that `build`
    returns, so that its state_dict is the whole state, and a training that was interrupted goes on from it.
    """

    drop_last: bool = True
    """Whether the last, smaller batch of an epoch is left out."""

    @abstractmethod
    def build(self, images: UnlabelledImages, run: Run) -> NetT:
        """The network with everything that training changes, before its first step."""

    @abstractmethod
    def optimiser(self, net: NetT) -> torch.optim.Optimizer:
        """The optimiser over what is trained; the loop sets its learning rate before every step."""

    @abstractmethod
    def learning_rate(self) -> Schedule:
        """Learning rate as a function of the position in training."""

    @abstractmethod
    def step(self, net: NetT, batch: Batch, update: Update) -> None:
        """One step: the paper's algorithm box. Calls `update` exactly once."""

    @abstractmethod
    def export(self, net: NetT) -> Encoder:
        """The encoder to be judged, on the method's own batch-norm route; asked for after every epoch."""

    def prepare(self, net: NetT, images: UnlabelledImages, run: Run) -> None:
        """Called once on the device before the first epoch, never on a resume."""

    def before_epoch(self, net: NetT, images: UnlabelledImages, run: Run, epoch: int) -> Tensor | None:
        """Called before each epoch, unless it is resumed; may return its order (int64 indices of any length)."""

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        """Run the loop; see `Method.pretrain`."""
        with watching_attacks():
            return train(self, images, run)


def train(method: TrainingMethod[TrainingConfigT, NetT], images: UnlabelledImages, run: Run) -> Encoder:
    """Train `method` on `images`, from the latest checkpoint of the run or from scratch: to the bit the same.

    Raises:
        StageError: when an epoch's mean loss or the final encoder is not finite, the images do not fill a batch, or a
            step does not call `update` exactly once.
    """
    with run.randomness.as_global("initialisation"):
        net = method.build(images, run)
    net = net.to(run.device).to(memory_format=torch.channels_last)
    checkpoint = run.checkpoints.latest()
    if checkpoint is None:
        method.prepare(net, images, run)
    state = TrainingState(net, method.optimiser(net))
    if checkpoint is not None:
        state.restore(checkpoint)
    while state.epoch < method.config.epochs:
        if state.step == 0:
            net.train()
            state.order = method.before_epoch(net, images, run, state.epoch)
        train_epoch(method, images, run, state)
        run.record({"epoch": state.epoch, **finite(state.averages.means(), state.epoch)})
        run.record(signs_of_life(method.export(net), state, images))
        state.end_epoch()
    run.checkpoints.keep(state.checkpoint())
    return sound(method.export(net))


def train_epoch(
    method: TrainingMethod[TrainingConfigT, NetT], images: UnlabelledImages, run: Run, state: TrainingState[NetT]
) -> None:
    """The steps of an epoch that are still to be done."""
    epoch, epochs, schedule = state.epoch, method.config.epochs, method.learning_rate()
    batches = batches_of(default_order(images, run, epoch) if state.order is None else state.order, method)
    update = optimiser_update(state.optimiser, state.averages)
    for step in range(state.step, len(batches)):
        set_learning_rate(state.optimiser, schedule(epoch, step, len(batches), epochs))
        method.step(state.net, take(images, batches[step], run.randomness, epoch, step), update)
        state.step = step + 1
        run.report(epoch * len(batches) + step + 1, epochs * len(batches), f"epoch {epoch + 1}/{epochs}")
        if run.checkpoints.due():
            run.checkpoints.keep(state.checkpoint())
    check_updates(method, state.averages.counts.get("loss", 0), len(batches))


def default_order(images: UnlabelledImages, run: Run, epoch: int) -> Tensor:
    """The epoch's permutation: the same for every method of a seed."""
    generator = run.randomness.generator("order", epoch=epoch)
    return torch.randperm(len(images), generator=generator).to(run.device)


def batches_of(order: Tensor, method: TrainingMethod[TrainingConfigT, NetT]) -> list[Tensor]:
    """The epoch's batches of indices.

    Raises:
        StageError: if there are fewer images than one batch takes.
    """
    size = method.config.batch_size
    batches = [batch for batch in torch.split(order, size) if len(batch) == size or not method.drop_last]
    if not batches or len(order) == 0:
        raise StageError(
            f"{method.name}: {len(order)} pre-training images do not fill one batch of {size}; "
            f"give it more images or a smaller batch, e.g. '{method.name}[batch_size={max(1, len(order) // 2)}]'"
        )
    return batches


def take(images: UnlabelledImages, index: Tensor, randomness: Randomness, epoch: int, step: int) -> Batch:
    """The images at `index` as float pixels, with this step's axes."""
    pixels = pixels_of(images.pixels[index]).contiguous(memory_format=torch.channels_last)
    return Batch(pixels, index, randomness, epoch, step)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the rate of this step."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def optimiser_update(optimiser: torch.optim.Optimizer, averages: Averages) -> Update:
    """The update that a step calls with its loss."""

    def update(loss: Tensor, **parts: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        averages.add(loss=loss, **parts, **attack_signs())

    return update


def finite(means: dict[str, float], epoch: int) -> dict[str, float]:
    """`means`, if every one is a number.

    Raises:
        StageError: naming the part that is not, and the epoch.
    """
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    if broken:
        raise StageError(f"training diverged: the mean {broken[0]} of epoch {epoch + 1} is {means[broken[0]]}")
    return means


def check_updates(method: TrainingMethod[TrainingConfigT, NetT], updates: int, batches: int) -> None:
    """See that no step left the network as it was, which no number would show.

    Raises:
        StageError: unless there was one update per batch.
    """
    if updates != batches:
        raise StageError(
            f"{method.name}: {updates} calls of `update` in an epoch of {batches} batches; each `step` must make one."
        )


def sound(encoder: Encoder) -> Encoder:
    """`encoder`, if its weights and statistics are numbers: the last step may break them after its loss was taken.

    Raises:
        StageError: naming a tensor that is not finite.
    """
    broken = [name for name, tensor in encoder.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise StageError(f"training diverged: after the last step the encoder's '{broken[0]}' is not finite")
    return encoder


@torch.no_grad()
def encode_all(encoder: Encoder, images: UnlabelledImages, batch_size: int = 1000) -> Tensor:
    """Features of all images as they are, not augmented: [N, d], `batch_size` at a time to bound memory.

    The caller sets the encoder's mode.
    """
    return torch.cat([encoder.encode(pixels_of(part)) for part in torch.split(images.pixels, batch_size)])
