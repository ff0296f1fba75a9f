"""How the official code bases name their weights, and what their evaluation builds from them: a table of data."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor

from bench.data.profiles import DataProfile
from bench.errors import BenchError
from bench.models.encoder import STATISTICS, Normalisation, Statistics
from bench.models.resnet import LAYOUTS, Architecture, ResNet

MAIN, CLEAN, ADVERSARIAL, PSEUDO = "main", "clean", "adv", "adv_ce"
"""Batch-norm routes, as our own methods call them."""


class WeightLayout(StrEnum):
    """Whose way to name weights a file keeps."""

    ACL = "acl"
    DYNACL = "dynacl"
    DEACL = "deacl"
    ADVCL = "advcl"
    ROCL = "rocl"
    AMOC = "amoc"
    AIR = "air"
    SOLO_LEARN = "solo-learn"
    BENCH = "bench"
    """What `bench export` writes."""


class Network(StrEnum):
    """Which of a file's networks."""

    ONLY = "only"
    """There is one."""
    ONLINE = "online"
    """The one that gradients train."""
    MOMENTUM = "momentum"
    """Its moving average; in DeACL's files, which have none, the teacher in its place."""


class Pixels(StrEnum):
    """The statistics that pixels are normalised with."""

    FILE = "file"
    """Those that the file brings as `normalize.mean` and `normalize.std`."""
    DATASET = "dataset"
    """This package's of the data set."""
    IMAGENET = "imagenet"
    """ImageNet's."""
    AMOC = "amoc"
    """AMOC's of CIFAR, which differ from ours in the fourth decimal (src/config.py:77-89)."""
    NONE = "none"
    """Pixels enter as they are."""


AMOC_STATISTICS: Mapping[str, Statistics] = {
    "cifar10": ((0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2617)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


def _amoc(profile: DataProfile) -> Statistics:
    if profile.name not in AMOC_STATISTICS:
        raise BenchError(
            f"normalisation 'amoc' has no statistics for '{profile.name}', only for {', '.join(AMOC_STATISTICS)}: "
            f"state another one, checkpoint[...,normalisation=dataset]."
        )
    return AMOC_STATISTICS[profile.name]


STATISTICS_OF: Mapping[Pixels, Callable[[DataProfile], Statistics]] = {
    Pixels.FILE: STATISTICS[Normalisation.NONE],  # Until the weights are loaded, which bring them.
    Pixels.DATASET: STATISTICS[Normalisation.DATASET],
    Pixels.IMAGENET: STATISTICS[Normalisation.IMAGENET],
    Pixels.AMOC: _amoc,
    Pixels.NONE: STATISTICS[Normalisation.NONE],
}
"""Mean and standard deviation per channel, of pixels in [0, 1]."""


@dataclass(frozen=True)
class Spelling:
    """How a file spells the parts of a network.

    Attributes:
        routes: each batch-norm route, and what stands for it in a name: `bn_list.0` in `bn1.bn_list.0.weight`.
        shortcut: the convolution and the batch norm of a shortcut.
    """

    routes: Mapping[str, str]
    shortcut: tuple[str, str]

    def of(self, name: str) -> str:
        """The official name of a tensor of a `ResNetEncoder`."""
        name = name.replace("normalise.", "normalize.").removeprefix("backbone.")
        name = re.sub(r"^blocks\.(\d)\.", lambda found: "layer{}.{}.".format(*_stage(int(found[1]))), name)
        name = name.replace("downsample.conv.", f"{self.shortcut[0]}.").replace(
            "downsample.bn.", f"{self.shortcut[1]}."
        )
        for route, spelt in self.routes.items():
            name = name.replace(f".{route}.", f".{spelt}." if spelt else ".")
        return name


def _stage(block: int) -> tuple[int, int]:
    """ResNet-18 numbers its stages from 1 and the two blocks of each from 0."""
    return block // 2 + 1, block % 2


DOWNSAMPLE, DOWNSAMPLE_PAIR = ("downsample.conv", "downsample.bn"), ("downsample.0", "downsample.1")
DUAL = Spelling({CLEAN: "bn_list.0", ADVERSARIAL: "bn_list.1"}, DOWNSAMPLE)
SINGLE = Spelling({MAIN: ""}, DOWNSAMPLE_PAIR)


@dataclass(frozen=True)
class Official:
    """What a code base stores, and what its evaluation takes of it.

    Attributes:
        repository: and commit.
        architecture, normalisation, route, network: what its evaluation builds, each with its source.
        spellings: of the files there are; the one whose batch norms a file has is taken.
        heads: names of what is not the encoder, as one pattern: projectors, classifiers, banks.
        prefixes: what the names of each network begin with, where a file holds several; any one of them.
    """

    repository: str
    architecture: tuple[Architecture, str]
    normalisation: tuple[Pixels, str]
    route: tuple[str, str]
    spellings: tuple[Spelling, ...]
    heads: str
    network: tuple[Network, str] = (Network.ONLY, "")
    prefixes: Mapping[Network, tuple[str, ...]] = field(default_factory=dict)


_LIGHTNING_HEADS = r"(momentum_)?(projector|predictor|classifier(_adv)?|prototypes)\.|queue(_ptr)?$"

OFFICIAL: Mapping[WeightLayout, Official] = {
    WeightLayout.ACL: Official(
        "VITA-Group/Adversarial-Contrastive-Learning at 399eabd",
        (Architecture.RESNET18_PADDING1, "models/resnet_multi_bn.py:248-260"),
        (Pixels.FILE, "ImageNet's, models/resnet_multi_bn.py:232-233"),
        (ADVERSARIAL, "train_trades.py:373-421, bnNameCnt 1"),
        (DUAL, SINGLE),
        heads=r"fc\.",
    ),
    WeightLayout.DYNACL: Official(
        "PKU-ML/DYNACL at 7d143db",
        (Architecture.RESNET18_PADDING1, "models/resnet_multi_bn.py:267-270; on STL-10 resnet18-imagenet"),
        (Pixels.FILE, "ImageNet's, models/resnet_multi_bn.py:251-252"),
        (ADVERSARIAL, "test_LF.py:296-337, bnNameCnt 1"),
        (DUAL, SINGLE),
        heads=r"fc\.",
        network=(Network.MOMENTUM, "train_DynACL.py:235-238"),
        prefixes={Network.ONLINE: ("encoder_q.",), Network.MOMENTUM: ("encoder_k.",)},
    ),
    WeightLayout.AIR: Official(
        "GodXuxilie/Enhancing_ACL_via_AIR at 15cf0a7",
        (Architecture.RESNET18_PADDING1, "as DynACL's; on STL-10 resnet18-imagenet"),
        (Pixels.FILE, "ImageNet's"),
        (ADVERSARIAL, "finetuning_utils.py:466, bnNameCnt 1"),
        (DUAL, SINGLE),
        heads=r"fc\.",
    ),
    WeightLayout.ADVCL: Official(
        "LijieFan/AdvCL at 24cb7a6",
        (Architecture.RESNET18_PADDING1, "models/resnet_cifar_multibn_ensembleFC.py:246-249"),
        (Pixels.NONE, "models/resnet_cifar_multibn_ensembleFC.py has none"),
        (ADVERSARIAL, "finetuning_advCL_SLF.py, load_BN_checkpoint: bn_list.1"),
        (Spelling({CLEAN: "bn_list.0", ADVERSARIAL: "bn_list.1", PSEUDO: "bn_list.2"}, DOWNSAMPLE),),
        heads=r"(head_(proj|pred|ce)|fc_\d+)\.",
    ),
    WeightLayout.ROCL: Official(
        "Kim-Minseon/RoCL at b6d5185",
        (Architecture.RESNET18_PADDING1, "src/models/resnet.py:126-184"),
        (Pixels.NONE, "src/data_loader.py:17-23"),
        (MAIN, "the only one"),
        (Spelling({MAIN: ""}, ("shortcut.0", "shortcut.1")),),
        heads=r"linear\.",
    ),
    WeightLayout.AMOC: Official(
        "MTandHJ/amoc at cdeefda",
        (Architecture.RESNET18_PADDING1, "models/resnet.py:129-224"),
        (Pixels.AMOC, "src/config.py:77-89"),
        (ADVERSARIAL, "linear_std.py --bn_adv; CCC, CAC and CAA are scored on clean"),
        (Spelling({CLEAN: "bn_clean", ADVERSARIAL: "bn_adv"}, DOWNSAMPLE_PAIR),),
        heads=r"(projector(_[qk])?|fc)\.|queue_(clean|adv)(_ptr)?$",
        network=(Network.ONLINE, "pre_train.py saves the query encoder"),
        prefixes={Network.ONLINE: ("encoder_q.",), Network.MOMENTUM: ("encoder_k.",)},
    ),
    WeightLayout.DEACL: Official(
        "pantheon5100/DeACL at 3fb81e3",
        (Architecture.RESNET18_PADDING2, "adv_finetune.py:185-190"),
        (Pixels.FILE, "CIFAR-10's on every data set, solo/models/resnet_add_normalize.py:224-225"),
        (MAIN, "the only one"),
        (SINGLE,),
        heads=_LIGHTNING_HEADS,
        network=(Network.ONLINE, "the student, adv_finetune.py, set_model"),
        prefixes={Network.ONLINE: ("backbone.",), Network.MOMENTUM: ("momentum_backbone.",)},
    ),
    WeightLayout.SOLO_LEARN: Official(
        "vturrisi/solo-learn at 9187ea3",
        (Architecture.RESNET18_PADDING2, "solo/methods/base.py:198-203; on STL-10 resnet18-imagenet"),
        (Pixels.DATASET, "solo/data/pretrain_dataloader.py:206-209"),
        (MAIN, "the only one"),
        (SINGLE,),
        heads=_LIGHTNING_HEADS,
        network=(Network.ONLINE, "main_linear.py takes `backbone`, in earlier files `encoder`"),
        prefixes={
            Network.ONLINE: ("backbone.", "encoder."),
            Network.MOMENTUM: ("momentum_backbone.", "momentum_encoder."),
        },
    ),
}


@dataclass(frozen=True)
class Content:
    """A file's tensors, told apart.

    Attributes:
        official: what it is read as.
        networks: those that it holds, without their prefixes.
        others: tensors of no network.
    """

    official: Official
    networks: Mapping[Network, Mapping[str, Tensor]]
    others: Collection[str]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], official: Official) -> Content:
        """Tensors, told apart by the official prefixes; where there are none, they are all of the one network."""
        networks: dict[Network, Mapping[str, Tensor]] = {}
        taken: set[str] = set()
        for network, prefixes in official.prefixes.items():
            names = {name: name.removeprefix(one) for one in prefixes for name in tensors if name.startswith(one)}
            if names:
                networks[network] = {inner: tensors[name] for name, inner in names.items()}
                taken |= names.keys()
        if networks:
            return cls(official, networks, tensors.keys() - taken)
        return cls(official, {Network.ONLY: tensors}, ())

    @property
    def evaluated(self) -> Network:
        """The network that the official evaluation takes."""
        return Network.ONLY if Network.ONLY in self.networks else self.official.network[0]

    def spelling(self, network: Network) -> Spelling:
        """How the network's batch norms are spelt; the first one that could be where none fits."""
        names = self.networks.get(network, {})
        found = (one for one in self.official.spellings if _stem(one) in names)
        return next(found, self.official.spellings[0])


def _stem(spelling: Spelling) -> str:
    return spelling.of(f"backbone.bn1.{next(iter(spelling.routes))}.weight")


@dataclass(frozen=True)
class Misfit:
    """Where a file and a network differ, by official names.

    Attributes:
        missing: what the network has and the file has not.
        unexpected: what the file has, and is neither of the network nor of a head.
        shapes: name, in the file, in the network.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)


def misfit(content: Content, network: Network, architecture: Architecture) -> Misfit:
    """How a file's network differs from an architecture; false where it fits to the last tensor."""
    spelling, tensors = content.spelling(network), content.networks[network]
    shapes = {spelling.of(name): shape for name, shape in backbone_shapes(architecture, tuple(spelling.routes)).items()}
    allowed = re.compile(rf"normalize\.(mean|std)$|{content.official.heads}")
    strangers = [name for name in (*tensors, *content.others) if name not in shapes and not allowed.match(name)]
    found = ((name, tuple(tensors[name].shape), shape) for name, shape in shapes.items() if name in tensors)
    return Misfit(
        tuple(name for name in shapes if name not in tensors),
        tuple(strangers),
        tuple((name, there, here) for name, there, here in found if there != here),
    )


def backbone_shapes(architecture: Architecture, routes: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a `ResNetEncoder`'s network."""
    with torch.device("meta"):
        backbone = ResNet(LAYOUTS[architecture], routes)
    return {f"backbone.{name}": tuple(tensor.shape) for name, tensor in backbone.state_dict().items()}


def fitting(content: Content, network: Network) -> Iterator[Architecture]:
    """The architectures that the network could be, by its shapes; a stem's padding leaves no trace in them."""
    return (architecture for architecture in Architecture if not misfit(content, network, architecture))


def layouts_of(tensors: Mapping[str, Tensor]) -> list[WeightLayout]:
    """The layouts that a file could be in, by its names and shapes."""
    contents = {layout: Content.of(tensors, official) for layout, official in OFFICIAL.items()}
    return [
        layout
        for layout, content in contents.items()
        if any(next(fitting(content, network), None) for network in content.networks)
    ]


def translated(content: Content, network: Network, architecture: Architecture) -> dict[str, Tensor]:
    """The network under our names, without its normalisation, which `statistics_of` gives."""
    spelling, tensors = content.spelling(network), content.networks[network]
    names = backbone_shapes(architecture, tuple(spelling.routes))
    return {name: tensors[spelling.of(name)] for name in names}


def statistics_in(content: Content, network: Network) -> dict[str, Tensor] | None:
    """The normalisation that a file brings, under our names; None where it brings none."""
    tensors = content.networks[network]
    if not {"normalize.mean", "normalize.std"} <= tensors.keys():
        return None
    return {f"normalise.{part}": tensors[f"normalize.{part}"].reshape(1, 3, 1, 1) for part in ("mean", "std")}
