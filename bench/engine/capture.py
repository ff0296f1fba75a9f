"""A training step captured once per batch size in a CUDA graph, and replayed: the host no longer launches kernels.

A graph repeats what the device did, not what Python did. So all that differs between two steps is a tensor that the
graph reads (the batch's indices, the learning rate, sums of the averages, all state) or a registered generator, which
is seeded anew before each replay: replayed draws are the eager ones. What Python alone knows is noted while the step
is captured: the parts that it averages, and whether it looked at the epoch or the step.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from bench.attacks.watch import attacks_seen
from bench.contract import Encoder
from bench.engine.state import PLAIN, TrainingState
from bench.execution import Execution
from bench.randomness import Randomness

WARM_UP = 3
"""Steps before the capture, eager and as real as any other: kernels are chosen, workspaces and state are made. torch's
own advice for captures with a backward pass (docs, CUDA semantics, whole-network capture)."""
VARIANTS = 64
"""Of a compiled network, where torch allows eight: routes, modes, frozen or not, for each network of a method."""

Action = Callable[[], object]
CallT = TypeVar("CallT", bound=Callable[..., object])


class Axis(StrEnum):
    """What of a step's place Python may look at."""

    EPOCH = "epoch"
    STEP = "step"


class Uncapturable(Exception):
    """A step whose repetition would not be the next step; the message completes 'the step is not captured: ...'."""


@dataclass(frozen=True)
class Draw:
    """A generator that a captured step draws from, and what for."""

    purpose: str
    generator: torch.Generator


@dataclass
class Axes:
    """The axes of one step's random numbers, with a note of what the step asks of them.

    Attributes:
        randomness: of the stage.
        device: of the draws.
        epoch, step: the place.
        prepared: the generators of a capture, in the order of their use; None outside of one.
        purposes: asked for so far, in order.
        read: the axes whose number was read.
    """

    randomness: Randomness
    device: torch.device
    epoch: int
    step: int
    prepared: Sequence[Draw] | None = None
    purposes: list[str] = field(default_factory=list)
    read: set[Axis] = field(default_factory=set)

    def generator(self, purpose: str) -> torch.Generator:
        """The generator for `purpose`; a second one for the same purpose begins as the first one did.

        Raises:
            Uncapturable: inside a capture, if the steps before asked for others.
        """
        number = len(self.purposes)
        self.purposes.append(purpose)
        if self.prepared is None:
            return self.randomness.generator(purpose, epoch=self.epoch, step=self.step, device=self.device)
        if number >= len(self.prepared) or self.prepared[number].purpose != purpose:
            raise Uncapturable(f"it draws for '{purpose}' where the step before it did not")
        return self.prepared[number].generator

    def number(self, axis: Axis) -> int:
        """The place along `axis`, noted as read."""
        self.read.add(axis)
        return self.epoch if axis is Axis.EPOCH else self.step


Work = Callable[[Tensor, Axes], None]
"""A whole step on the images at int64 [B] indices, its update included."""
Remark = Callable[[int, str], None]
"""Called with the epoch and why its steps are not captured."""


class Steps(Protocol):
    """Carries out steps, at the learning rate that is set."""

    def __call__(self, index: Tensor, epoch: int, step: int) -> None:
        """One whole step on the images at int64 [B] `index`."""
        ...


class Graphs(Protocol):
    """A device that can record work and repeat it."""

    def aside(self) -> AbstractContextManager[None]:
        """Inside, work runs where captures are made."""
        ...

    def generator(self) -> torch.Generator:
        """A new generator on the device."""
        ...

    def capture(self, work: Action, generators: Sequence[torch.Generator]) -> Action:
        """Record the device's part of `work` without doing it; returns what does it, again and again."""
        ...


class CudaGraphs:
    """Of one GPU. Captures share a stream but no memory: two batch sizes may be replayed in any order."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """On the stream of captures, ordered with the current one."""
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            yield
        here.wait_stream(self.stream)

    def generator(self) -> torch.Generator:
        """A new Philox generator."""
        return torch.Generator(self.device)

    def capture(self, work: Action, generators: Sequence[torch.Generator]) -> Action:
        """Record `work` in a graph of its own; the replay runs on the stream that is current then."""
        graph = torch.cuda.CUDAGraph()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Newer versions of torch register by themselves, and say so.
            for generator in generators:
                graph.register_generator_state(generator)
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
            work()
        replay: Action = graph.replay
        return replay


def graphs_for(execution: Execution, device: torch.device) -> Graphs | None:
    """Where steps are captured under a resolved `execution`; None where they run eagerly."""
    captured = execution in (Execution.GRAPH, Execution.COMPILED) and device.type == "cuda"
    return CudaGraphs(device) if captured else None


def replayed(action: Action, graphs: Graphs, generators: Sequence[torch.Generator] = ()) -> Action:
    """`action`, whose inputs stay where they are and which draws from `generators`, as a graph's replay, for timing."""
    with graphs.aside():
        for _ in range(WARM_UP):
            action()
    return graphs.capture(action, generators)


@dataclass(frozen=True)
class Recording:
    """A captured step.

    Attributes:
        replay: repeats it.
        index: what it reads its batch's indices from.
        draws: what it draws from.
        parts: what it averages, and how often.
        epoch: the only one that it is right for, where the step looked at the epoch.
        anatomy: what it is built upon.
    """

    replay: Action
    index: Tensor
    draws: tuple[Draw, ...]
    parts: Mapping[str, int]
    epoch: int | None
    anatomy: Hashable

    def holds(self, epoch: int, anatomy: Hashable) -> bool:
        """Whether its repetition is a step of `epoch`."""
        return self.epoch in (None, epoch) and self.anatomy == anatomy


@dataclass
class Track:
    """The steps of one batch size.

    Attributes:
        purposes: that the last warm-up step drew for.
        warm: warm-up steps done.
        recording: of the step, once there is one.
    """

    purposes: tuple[str, ...] = ()
    warm: int = 0
    recording: Recording | None = None


class CapturedSteps:
    """Does steps by replaying them; eagerly where that is not possible, with a remark.

    Args:
        work: the step.
        state: what it changes. The optimiser has gone through `optim.make_capturable`.
        randomness: of the stage.
        graphs: the device.
        remark: told why steps are not captured.
    """

    def __init__(
        self, work: Work, state: TrainingState[Any], randomness: Randomness, graphs: Graphs, remark: Remark
    ) -> None:
        self.work, self.state, self.randomness = work, state, randomness
        self.graphs, self.remark = graphs, remark
        self.tracks: dict[int, Track] = {}
        self.refused = False
        self.epoch: int | None = None
        self.anatomy: Hashable = None

    def __call__(self, index: Tensor, epoch: int, step: int) -> None:
        """One step on the images at `index`."""
        axes = Axes(self.randomness, index.device, epoch, step)
        if epoch != self.epoch:  # Inside an epoch nothing but the step itself touches the state.
            self.epoch, self.anatomy = epoch, anatomy(self.state)
        track = self.tracks.setdefault(len(index), Track())
        if self.refused:
            self.work(index, axes)
        elif track.warm < WARM_UP:
            self._warm_up(track, index, axes)
        elif recording := self._recording(track, index, axes):
            self._replay(recording, index, epoch, step)
        else:
            self.work(index, Axes(self.randomness, index.device, epoch, step))

    def _warm_up(self, track: Track, index: Tensor, axes: Axes) -> None:
        with self.graphs.aside():
            self.work(index, axes)
        track.purposes, track.warm = tuple(axes.purposes), track.warm + 1
        self.anatomy = anatomy(self.state)  # The first steps make the optimiser's state.

    def _recording(self, track: Track, index: Tensor, axes: Axes) -> Recording | None:
        """The track's recording, made anew where it does not hold; None if it cannot be made."""
        if track.recording is None or not track.recording.holds(axes.epoch, self.anatomy):
            track.recording = None  # Frees its memory before the next one takes as much.
            try:
                track.recording = self._record(track, index, axes)
            except Exception as error:  # Whatever it is, the eager step shows whether it is the method's own.
                self.refused = True
                self.remark(axes.epoch, reason(error))
        return track.recording

    def _record(self, track: Track, index: Tensor, axes: Axes) -> Recording:
        draws = tuple(Draw(purpose, self.graphs.generator().manual_seed(0)) for purpose in track.purposes)
        axes.prepared, static = draws, index.clone()
        with unchanged(self.state) as parts:
            replay = self.graphs.capture(lambda: self.work(static, axes), [draw.generator for draw in draws])
            check_repeatable(axes, self.state, self.anatomy, index.device)
        epoch = axes.epoch if Axis.EPOCH in axes.read else None
        return Recording(replay, static, draws, parts, epoch, self.anatomy)

    def _replay(self, recording: Recording, index: Tensor, epoch: int, step: int) -> None:
        recording.index.copy_(index)
        for draw in recording.draws:
            draw.generator.manual_seed(self.randomness.number(draw.purpose, epoch=epoch, step=step))
        recording.replay()
        counts = self.state.averages.counts
        for name, times in recording.parts.items():
            counts[name] = counts.get(name, 0) + times


def check_repeatable(axes: Axes, state: TrainingState[Any], before: Hashable, device: torch.device) -> None:
    """See that the captured step would be the next one, too.

    Raises:
        Uncapturable: if it looked at its number, or left tensors behind that only the capture made.
    """
    if Axis.STEP in axes.read:
        raise Uncapturable("it reads `batch.step`, or `batch.randomness`, which a graph cannot know")
    if anatomy(state) != before:
        raise Uncapturable("it replaces a tensor of its state, where it should write into it in place")
    if any(total.device.type != device.type for total in state.averages.sums.values()):
        raise Uncapturable("it hands a part to `update` that lies on the CPU")


@contextmanager
def unchanged(state: TrainingState[Any]) -> Iterator[Counter[str]]:
    """Undoes what Python did inside, since the device did nothing; collects what was to be averaged.

    After an exception also the tensors that were replaced are back: those that the capture made hold no numbers.
    """
    averages, counts, parts = state.averages, dict(state.averages.counts), Counter[str]()
    buffers = [(module, dict(module._buffers)) for module in state.net.modules()]
    kept = {weight: dict(own) for weight, own in state.optimiser.state.items()}
    try:
        yield parts
        parts.update({name: count - counts.get(name, 0) for name, count in averages.counts.items()})
    except Exception:
        for module, own in buffers:
            module._buffers.update(own)
        state.optimiser.state.clear()
        state.optimiser.state.update(kept)
        state.optimiser.zero_grad(set_to_none=True)
        attacks_seen()
        for name in averages.sums.keys() - counts.keys():  # Zero since the epoch began, or made by the capture.
            del averages.sums[name]
        raise
    finally:
        averages.counts.clear()
        averages.counts.update(counts)


def anatomy(state: TrainingState[Any]) -> Hashable:
    """Where the state lies, and the modes that decide which kernels run: a graph is good for this alone."""
    net, optimiser = state.net, state.optimiser
    made = [value for own in optimiser.state.values() for value in own.values() if isinstance(value, Tensor)]
    tensors = [*net.parameters(), *net.buffers(), *made, *state.averages.sums.values()]
    return (
        tuple(tensor.data_ptr() for tensor in tensors),
        tuple(weight.requires_grad for weight in net.parameters()),
        tuple(plain(vars(module)) for module in net.modules()),
        tuple(plain(group) for group in optimiser.param_groups),
    )


def plain(values: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    """What of `values` a capture would take for constants: modes, routes, momenta."""
    return tuple((name, value) for name, value in values.items() if isinstance(value, PLAIN))


def reason(error: BaseException) -> str:
    """What broke a capture: the first of a chain of errors, since ending a broken capture raises another one."""
    while error.__context__ is not None:
        error = error.__context__
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, Uncapturable) else f"{type(error).__name__}: {text}"


def compiled(net: nn.Module, steps: Steps) -> Steps:
    """`steps` with the networks inside every encoder of `net` compiled, in place; state_dicts stay the same."""
    compile_encoders(net)
    return roomy(steps.__call__)


def compile_encoders(net: nn.Module) -> None:
    """Compile the networks inside every encoder of `net`, when they are first called.

    Normalisation and choice of the route stay outside. Static shapes: a second batch size is a second compilation.
    """
    for network in networks_in(net):
        network.compile(dynamic=False)


def networks_in(net: nn.Module) -> Iterator[nn.Module]:
    """What has weights inside of every encoder of `net`."""
    for encoder in (part for part in net.modules() if isinstance(part, Encoder)):
        yield from (network for network in encoder.children() if any(True for _ in network.parameters()))


def roomy(call: CallT) -> CallT:
    """`call`, inside which a compiled network may have as many variants as a method needs."""
    import torch._dynamo as dynamo

    within: CallT = dynamo.config.patch(recompile_limit=VARIANTS)(call)
    return within
