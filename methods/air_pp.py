"""DynACL-AIR++: AIR adapted to its own clusters (Xu et al., NeurIPS 2023).

Official code: GodXuxilie/Enhancing_ACL_via_AIR at 15cf0a7, LP-AFF.py: DynACL++'s post-processing with two batch norms.
"""

from __future__ import annotations

from torch import Tensor

from bench.config import Count, NonNegative
from bench.contract import Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.resnet import Architecture
from methods.dynacl_pp import DIGITS, DynACLPP, DynACLPPConfig, DynACLPPState
from methods.parts.dual_stream import ADVERSARIAL, CLEAN, Route
from methods.parts.upstream import initialised_from


class AIRPPConfig(DynACLPPConfig):
    """Settings of AIR++'s post-processing; where LP-AFF.py has DynACL++'s number, its source stands for both."""

    pretrained: str = "air"
    """What is adapted, as `--methods` takes it, in quotes where it has options; it needs the routes `clean`, `adv`."""
    clusters: Count | None = None
    """K of the pseudo-labels: `none` is the number of the data set's classes (LP-AFF.py:537-605)."""
    kmeans_tolerance: NonNegative = 1e-5
    """LP-AFF.py:537-605: the squared sum of the centres' shifts."""
    start_noise: NonNegative = 0.001
    """Standard deviation of the attack's start; finetuning_utils.py:533-572."""


class AIRPP(DynACLPP):
    """k-means, linear probing, then TRADES on the pseudo-labels; the clean route gives the attack's target alone."""

    name = "air-pp"
    summary = "DynACL-AIR++: TRADES on k-means pseudo-labels, over AIR"
    Config = AIRPPConfig
    DISPUTES = {
        "clusters": "the number of classes (LP-AFF.py:537-605), where DynACL++ takes 10 on every data set",
        "route of the target": (
            "the attack's target is the clean route's, the loss compares with the adversarial one's "
            "(finetuning_utils.py:546-565; LP-AFF.py:255-260); kept"
        ),
        "code that cannot run": "LP-AFF.py:87 uses a name that is not there, :76 refuses STL-10, which its README runs",
    }
    PAPER = {
        "cifar10": AIRPPConfig(),
        "cifar100": AIRPPConfig(),
        # LP-AFF.py:76 refuses STL-10, though the README runs it there.
        "stl10": AIRPPConfig(architecture=Architecture.RESNET18_IMAGENET, pretrain_pool="stl10:unlabelled"),
    }
    QUICK = {"digits": AIRPPConfig(**DIGITS)}

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """A batch norm per stream, as AIR's."""
        c = self.config
        routes = tuple(Route)
        return resnet_encoder(
            c.architecture, profile, routes=routes, active_route=ADVERSARIAL, normalisation=c.normalisation
        )

    def adapted(self, images: UnlabelledImages, run: Run) -> ResNetEncoder:
        """AIR with both its batch norms; no loss reaches the clean ones."""
        encoder = initialised_from(
            run.upstream["pretrained"], self.encoder(images.profile), images, route_by_route=True
        )
        for name, weight in encoder.named_parameters():
            weight.requires_grad_(CLEAN not in name.split("."))
        return encoder

    def natural(self, net: DynACLPPState, x: Tensor) -> Tensor:
        """The logits of the clean route (LP-AFF.py:255-260; finetuning_utils.py:546-565)."""
        logits: Tensor = net.head(net.encoder.features(x, CLEAN))
        return logits
