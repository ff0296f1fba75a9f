"""Weights that were trained elsewhere, as a method: nothing is trained, a file is loaded, strictly.

Nothing about the file is guessed unsaid: what the official evaluation builds from it is filled into the settings, which
the row keeps, and `bench list methods checkpoint` prints it with its source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from bench.config import MethodConfig
from bench.contract import Encoder, Method, Origin, Passes, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.errors import BenchError
from bench.grammar import parse_spec
from bench.inputs import InputFile
from bench.models.encoder import Normalise, ResNetEncoder, one_of
from bench.models.portable import ENCODER, Card, card_of
from bench.models.resnet import Architecture, resnet
from bench.registry import Registry
from methods.parts.layouts import (
    OFFICIAL,
    STATISTICS_OF,
    Content,
    Misfit,
    Network,
    Official,
    Pixels,
    WeightLayout,
    fitting,
    layouts_of,
    misfit,
    statistics_in,
    translated,
)
from methods.parts.weights import read_weights

SAID_BY_CARD = ("architecture", "network", "normalisation", "weights_of")
"""Settings that a file of this package leaves no choice of."""
SHOWN = 4
"""Names that an error lists."""


def _own(part: Callable[[Official], tuple[str, str]]) -> str:
    """What every layout's evaluation takes for a setting, with its source."""
    taken = {layout: part(official) for layout, official in OFFICIAL.items()}
    said = [f"{layout} {value}" + (f" ({source})" if source else "") for layout, (value, source) in taken.items()]
    return f"None is the layout's own: {'; '.join(said)}; bench what the file says."


def _installed(text: str | None) -> str | None:
    """The label of a method, if there is one of its name."""
    if text is None:
        return None
    spec = parse_spec(text)
    return replace(spec, name=Registry.discover().find(spec.name).name).text


TrainedBy = Annotated[str | None, AfterValidator(_installed)]


class CheckpointConfig(MethodConfig):
    """Settings of a file of weights; those that are left out are filled in from its layout and its content."""

    path: InputFile
    """The file: .safetensors, or what torch.save wrote with nothing but tensors and plain data."""
    layout: WeightLayout = WeightLayout.BENCH
    """Whose names its tensors have; `bench` is what `bench export` writes, and says the rest by itself."""
    architecture: Architecture | None = Field(None, description=_own(lambda one: one.architecture))
    normalisation: Pixels | None = Field(None, description=_own(lambda one: one.normalisation))
    network: Network | None = Field(None, description=_own(lambda one: one.network) + " Where the file holds several.")
    route: str | None = Field(None, description=_own(lambda one: one.route) + " `main` where there is one only.")
    routes: tuple[str, ...] | None = None
    """The file's batch norms; found in it, there is nothing to choose."""
    weights_of: TrainedBy = None
    """The method that trained them, as --methods takes it (`dynacl-pp`, `"amoc[epochs=1000,batch_size=512]"`), by the
    user's word: its published numbers stand beside the rows. No file of `bench export`, which has rows of its own."""

    @model_validator(mode="before")
    @classmethod
    def _stated(cls, values: Any) -> Any:
        """Fill in what was left open, so that settings say all there is to know of the network."""
        given = dict(values)
        if None not in (given.get(name) for name in ("architecture", "normalisation", "network", "route", "routes")):
            return given
        if "path" not in given or (layout := given.get("layout", WeightLayout.BENCH)) not in set(WeightLayout):
            return given  # The fields say what is wrong.
        file = given["path"] = InputFile.model_validate(given["path"])
        filled = _of_ours(file, given) if layout == WeightLayout.BENCH else _of_official(file, given)
        return {**given, **{name: value for name, value in filled.items() if given.get(name) is None}}


def _of_ours(file: InputFile, given: Mapping[str, Any]) -> dict[str, Any]:
    card = our_card(file)
    if stated := [name for name in SAID_BY_CARD if given.get(name)]:
        raise BenchError(
            f"file '{file.path}' was exported by this package and says itself what it is: leave "
            f"{' and '.join(stated)} out."
        )
    return {
        "architecture": card.architecture,
        "normalisation": Pixels.FILE,
        "network": Network.ONLY,
        "route": card.active_route,
        "routes": card.routes,
    }


def our_card(file: InputFile) -> Card:
    """What a file says of itself.

    Raises:
        BenchError: if it says nothing.
    """
    if (card := card_of(file.read())) is None:
        raise BenchError(
            f"file '{file.path}' does not say what is in it, as files of `bench export` do: name its layout "
            f"(checkpoint[path=...,layout=NAME], or bench evaluate FILE --layout NAME), one of {', '.join(OFFICIAL)}."
        )
    return card


def _of_official(file: InputFile, given: Mapping[str, Any]) -> dict[str, Any]:
    official = OFFICIAL[WeightLayout(given["layout"])]
    content = Content.of(read_weights(file), official)
    network = content.evaluated
    routes = tuple(content.spelling(_network(file, content, given.get("network") or network)).routes)
    return {
        "architecture": official.architecture[0],
        "normalisation": official.normalisation[0],
        "network": network,
        "route": official.route[0] if len(routes) > 1 else routes[0],
        "routes": routes,
    }


def _network(file: InputFile, content: Content, name: str) -> Network:
    if name in content.networks:
        return Network(name)
    held = list(content.networks)
    raise BenchError(
        f"file '{file.path}' has no network '{name}', it has {' and '.join(held)}: checkpoint[...,network={held[0]}]."
    )


class Checkpoint(Method[CheckpointConfig]):
    """A released encoder, judged like any other."""

    name = "checkpoint"
    summary = "released weights from a file: checkpoint[path=FILE,layout=acl]"
    Config = CheckpointConfig
    DISPUTES = {
        "architecture": (
            "a stem's padding leaves no trace in a file: DeACL's weights of padding 2 load into padding 1, which its "
            "first linear evaluation (4d98dca, adv_slf.py) and RobustSSL_Benchmark (Vanilla_Finetuning/utils.py:95-104)"
            " judged, at the cost of 2 points of AutoAttack; here padding is the layout's, unless stated"
        ),
        "normalisation": (
            "files of AMOC (src/config.py:77-89) and solo-learn (pretrain_dataloader.py:206-209) do not hold it, and "
            "DeACL's hold CIFAR-10's on every data set (solo/models/resnet_add_normalize.py:224-225)"
        ),
        "route": (
            "AMOC's option --bn_adv chooses the clean route (linear_std.py), as its variants CCC, CAC and CAA need; a "
            "file does not say which variant it is: checkpoint[...,route=clean]"
        ),
        "network": (
            "DynACL's model_encoder_k_{e}.pt holds both encoders (train_DynACL.py:261-264), whatever it is called; the "
            "momentum encoder is taken"
        ),
        "silent loading": (
            "official evaluations load with strict=False (DynACL test_LF.py, AdvCL finetuning_advCL_SLF.py, AIR "
            "finetuning_utils.py:478-483), so that a wrong file is a random encoder; here every tensor must fit"
        ),
        "what it has seen": (
            "a file does not say: ACL's saw the 5,000 images that its train_trades.py validates on, AdvCL's labels of "
            "an encoder trained on ImageNet (pretraining_advCL.py); rows are marked as external data"
        ),
        "fine-tuned or not": (
            "DynACL++ (LPAFT.py) and full fine-tuning (ACL train_trades.py) keep the names of the pre-trained network "
            "with a single batch norm; nothing in them tells them apart, or one epoch from another"
        ),
    }
    trains = False
    reads = {Origin.FILE: "path"}

    def passes(self) -> Passes:
        """None are made here."""
        return Passes(forward=0)

    def external_data(self) -> bool:
        """Nobody here knows what the weights saw."""
        return True

    def check(self, images: int | None = None) -> None:
        """See that the file fits, to the last tensor."""
        c = self.config
        one_of(self.routes, str(c.route))
        if images is None and c.layout is not WeightLayout.BENCH:
            self._content()

    @property
    def routes(self) -> tuple[str, ...]:
        """The encoder's batch-norm routes."""
        assert self.config.routes is not None
        return self.config.routes

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """What the official evaluation builds; normalised by what the settings state."""
        c = self.config
        assert c.architecture is not None
        assert c.normalisation is not None
        normalise = Normalise(*STATISTICS_OF[c.normalisation](profile))
        return ResNetEncoder(normalise, resnet(c.architecture, self.routes), self.routes, str(c.route))

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        """The file's encoder; `images` are not looked at."""
        encoder = self.encoder(images.profile)
        encoder.load_state_dict({**encoder.normalise.state_dict(prefix="normalise."), **self.weights()}, strict=True)
        return encoder.to(run.device)

    def weights(self) -> dict[str, Tensor]:
        """The encoder's tensors by our names; with those of its normalisation where the file is to bring them.

        Raises:
            BenchError: if a tensor is missing, left over or of another shape; the message names them.
        """
        c = self.config
        if c.layout is WeightLayout.BENCH:
            stored = read_weights(c.path).items()
            return {name.removeprefix(ENCODER): value for name, value in stored if name.startswith(ENCODER)}
        assert c.architecture is not None
        content, network = self._content(), Network(str(c.network))
        own = translated(content, network, c.architecture)
        return own | ((statistics_in(content, network) or {}) if c.normalisation is Pixels.FILE else {})

    def _content(self) -> Content:
        """What is in the file, if it fits the settings to the last tensor."""
        c = self.config
        content = Content.of(read_weights(c.path), OFFICIAL[c.layout])
        network = _network(c.path, content, str(c.network))
        if (found := tuple(content.spelling(network).routes)) != self.routes:
            raise BenchError(
                f"file '{c.path.path}' has the batch norms {', '.join(found)}, not {', '.join(self.routes)}: leave the "
                f"option `routes` out."
            )
        assert c.architecture is not None
        if differs := misfit(content, network, c.architecture):
            raise _unfit(c, differs, list(fitting(content, network)))
        if c.normalisation is Pixels.FILE and statistics_in(content, network) is None:
            raise BenchError(
                f"file '{c.path.path}' brings no normalize.mean and normalize.std, which files of the layout "
                f"'{c.layout}' do: state them, checkpoint[...,normalisation=imagenet], or dataset, or none."
            )
        return content


def _unfit(config: CheckpointConfig, differs: Misfit, others: list[Architecture]) -> BenchError:
    shapes = [f"{name} {there} for {here}" for name, there, here in differs.shapes]
    return BenchError(
        f"file '{config.path.path}' is no {config.architecture} in the layout '{config.layout}': "
        f"{_told(differs.missing, 'lacks')}{_told(differs.unexpected, 'has, and should not,')}"
        f"{_told(shapes, 'has shapes')}{_remedy(config, others)}"
    )


def _told(names: Sequence[str], what: str) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"it {what} {', '.join(names[:SHOWN])}{more}; "


def _remedy(config: CheckpointConfig, architectures: Sequence[Architecture]) -> str:
    if architectures:
        names = " or ".join(architectures)
        return f"its shapes are those of {names}: checkpoint[...,architecture={architectures[0]}]."
    if layouts := layouts_of(read_weights(config.path)):
        return f"its names and shapes are those of layout={' or '.join(layouts)}."
    return (
        f"no layout ({', '.join(OFFICIAL)}) fits it: these are of ResNet-18 alone. Another network is judged through a "
        f"Python function that builds it: bench evaluate ./file.py:function."
    )
