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
from bench.contract import Encoder, LabelledImages, Method, Run, UnlabelledImages
from bench.data.views import pixels_of
from bench.engine.capture import Axes, Axis, CapturedSteps, Graphs, Steps, compiled, graphs_for
from bench.engine.optim import make_capturable
from bench.engine.schedules import Schedule
from bench.engine.signs import attack_signs, signs_of_life
from bench.engine.state import Averages, TrainingState
from bench.errors import StageError
from bench.execution import Execution, Precision
from bench.models.precision import follows_precision
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
        classes: int64 [B], where the images are labelled; else None.
    """

    pixels: Tensor
    index: Tensor
    randomness: Randomness
    epoch: int
    step: int
    classes: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """The classes, int64 [B].

        Raises:
            StageError: in a method that is not `labelled`.
        """
        if self.classes is None:
            raise StageError("this method is not handed the classes of images: set `labelled = True` on its class.")
        return self.classes

    def generator(self, purpose: str) -> torch.Generator:
        """A generator for `purpose` in this step, the same whatever was drawn before."""
        device = self.pixels.device
        return self.randomness.generator(purpose, epoch=self.epoch, step=self.step, device=device)


class NotedBatch(Batch):
    """A batch of a step that is to be captured: notes what Python reads of its place."""

    def __init__(self, pixels: Tensor, index: Tensor, axes: Axes, classes: Tensor | None = None) -> None:
        for name, value in {"pixels": pixels, "index": index, "axes": axes, "classes": classes}.items():
            object.__setattr__(self, name, value)

    axes: Axes

    @property
    def epoch(self) -> int:
        """Read by a captured step: it is captured anew in every epoch."""
        return self.axes.number(Axis.EPOCH)

    @property
    def step(self) -> int:
        """Read by a step: it is not captured."""
        return self.axes.number(Axis.STEP)

    @property
    def randomness(self) -> Randomness:
        """Whoever takes it knows its place otherwise: as if it read the step."""
        self.axes.number(Axis.STEP)
        return self.axes.randomness

    def generator(self, purpose: str) -> torch.Generator:
        """As `Batch.generator`."""
        return self.axes.generator(purpose)


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


def train(
    method: TrainingMethod[TrainingConfigT, NetT], images: UnlabelledImages, run: Run, graphs: Graphs | None = None
) -> Encoder:
    """Train `method` on `images`, from the latest checkpoint of the run or from scratch: to the bit the same.

    Args:
        graphs: where steps are captured, instead of where the run's `execution` says.

    Raises:
        StageError: when an epoch's mean loss or the final encoder is not finite, the images do not fill a batch, a
            step does not call `update` exactly once, or the precision does not reach the network.
    """
    with run.randomness.as_global("initialisation"):
        net = method.build(images, run)
    net = net.to(run.device).to(memory_format=torch.channels_last)
    check_precision(method, net)
    checkpoint = run.checkpoints.latest()
    if checkpoint is None:
        method.prepare(net, images, run)
    state = TrainingState(net, method.optimiser(net))
    if checkpoint is not None:
        state.restore(checkpoint)
    steps = steps_of(method, images, run, state, graphs)
    while state.epoch < method.config.epochs:
        if state.step == 0:
            net.train()
            state.order = method.before_epoch(net, images, run, state.epoch)
        train_epoch(method, images, run, state, steps)
        run.record({"epoch": state.epoch, **finite(state.averages.means(), state.epoch)})
        run.record(signs_of_life(method.export(net), state, images))
        state.end_epoch()
    run.checkpoints.keep(state.checkpoint())
    return sound(method.export(net))


def train_epoch(
    method: TrainingMethod[TrainingConfigT, NetT],
    images: UnlabelledImages,
    run: Run,
    state: TrainingState[NetT],
    steps: Steps,
) -> None:
    """The steps of an epoch that are still to be done."""
    epoch, epochs, schedule = state.epoch, method.config.epochs, method.learning_rate()
    batches = batches_of(default_order(images, run, epoch) if state.order is None else state.order, method)
    for step in range(state.step, len(batches)):
        set_learning_rate(state.optimiser, schedule(epoch, step, len(batches), epochs))
        steps(batches[step], epoch, step)
        state.step = step + 1
        run.report(epoch * len(batches) + step + 1, epochs * len(batches), f"epoch {epoch + 1}/{epochs}")
        if run.checkpoints.due():
            run.checkpoints.keep(state.checkpoint())
    check_updates(method, state.averages.counts.get("loss", 0), len(batches))


def steps_of(
    method: TrainingMethod[TrainingConfigT, NetT],
    images: UnlabelledImages,
    run: Run,
    state: TrainingState[NetT],
    graphs: Graphs | None = None,
) -> Steps:
    """The steps of `method` as the run's `execution` carries them out; `bench perf` measures the very same.

    Args:
        state: the training, restored where it was interrupted; its optimiser may become a capturable one.
        graphs: where steps are captured, instead of where the run's `execution` says.
    """
    update = optimiser_update(state.optimiser, state.averages)

    def eager(index: Tensor, epoch: int, step: int) -> None:
        method.step(state.net, take(images, index, run.randomness, epoch, step), update)

    def noted(index: Tensor, axes: Axes) -> None:
        method.step(state.net, NotedBatch(pixels_at(images, index), index, axes, classes_at(images, index)), update)

    def remark(epoch: int, reason: str) -> None:
        run.record({"epoch": epoch, "execution": Execution.EAGER, "remark": f"the step is not captured: {reason}"})

    graphs = graphs or graphs_for(run.execution, run.device)
    if graphs is not None or run.device.type == "cuda":  # There eager steps take the same kernels as captured ones.
        make_capturable(state.optimiser, run.device)
    steps: Steps = eager if graphs is None else CapturedSteps(noted, state, run.randomness, graphs, remark)
    return compiled(state.net, steps) if run.execution is Execution.COMPILED else steps


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
    """The images at `index` as float pixels, with this step's axes, and their classes where they are labelled."""
    return Batch(pixels_at(images, index), index, randomness, epoch, step, classes_at(images, index))


def pixels_at(images: UnlabelledImages, index: Tensor) -> Tensor:
    """float32 [B, 3, H, W] in [0, 1], channels last."""
    return pixels_of(images.pixels[index]).contiguous(memory_format=torch.channels_last)


def classes_at(images: UnlabelledImages, index: Tensor) -> Tensor | None:
    """int64 [B], where the images are labelled."""
    return images.labels[index] if isinstance(images, LabelledImages) else None


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


def check_precision(method: TrainingMethod[TrainingConfigT, NetT], net: nn.Module) -> None:
    """See that bfloat16, where it is asked for, reaches the network: a label must not claim it otherwise.

    Raises:
        StageError: if no part of `net` follows it.
    """
    if method.config.precision is Precision.BF16 and not follows_precision(net):
        raise StageError(
            f"{method.name}: precision=bf16 reaches no part of its network, which is not made of this project's "
            f"encoders: mark its forward pass with bench.models.precision.in_network_precision, or train in fp32."
        )


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
