"""NCP-ACL: neighbouring-cluster pursuit (anonymous, under review). No code was released; Eq. numbers are the paper's.

Silent points follow DeACL, to which the paper defers (A.2.2), at pantheon5100/DeACL 3fb81e3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity as cosine

from bench.attacks.pgd import LinfPGD, ascend, undisturbed, uniform_start
from bench.config import Count, EpochLength, Fraction, NonNegative, Positive, TrainingConfig
from bench.contract import Encoder, Passes, Run, UnlabelledImages, Upstream
from bench.data.profiles import DataProfile
from bench.data.views import HorizontalFlip, PaddedCrop, Views
from bench.engine.loop import Batch, TrainingMethod, Update, encode_all
from bench.engine.schedules import WarmupCosine, deacl
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.resnet import Architecture, Init
from methods.parts.clustering import (
    Seeding,
    check_clusters,
    check_grid,
    choose_clusters,
    collapse,
    neighbours,
    spherical_kmeans,
)
from methods.parts.losses import negative_cosine
from methods.parts.upstream import Frozen, initialised_from


class Route(StrEnum):
    """The student's two batch norms (A.2.2); in training each sees its own kind of image, in a pass of its own."""

    CLEAN = "clean"
    ADVERSARIAL = "adv"


CLEAN, ADVERSARIAL = Route


class Strategy(StrEnum):
    """What the perturbation pursues (appendix B.1)."""

    AWAY = "away"
    TOWARD = "toward"
    BOTH = "both"


class Ranked(StrEnum):
    """Whose nearest clusters are ranked to find the neighbour."""

    IMAGE = "image"
    CENTROID = "centroid"


OBJECTIVES: Mapping[Strategy, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    Strategy.AWAY: lambda z, own, neighbour: -cosine(z, own),
    Strategy.TOWARD: lambda z, own, neighbour: cosine(z, neighbour),
    Strategy.BOTH: lambda z, own, neighbour: cosine(z, neighbour) - cosine(z, own),
}
"""Eq. (4) and its two halves, per image; the paper's CosSim is the negative cosine."""


AtLeastTwo = Annotated[int, Field(ge=2)]


class NCPConfig(TrainingConfig):
    """Settings of NCP-ACL's stage 2; the defaults are those for CIFAR-10.

    Silent points without an alternative here, all as DeACL: cosines are of backbone features, without a projector; f1
    is in eval mode and sees f2's view; no average of f2; the attack in eval mode; centroids are constants of an epoch.
    """

    epochs: EpochLength = 200
    """A.2.2: 200, 100 and 1000 on CIFAR-10, CIFAR-100 and STL-10."""
    batch_size: Count = 256
    """A.2.2."""
    teacher: str = "simclr"
    """Stage 1, as `--methods` takes it, in quotes where it has options: "simclr[epochs=5]". SimCLR by A.2.1."""
    architecture: Architecture = Architecture.RESNET18_PADDING2
    """As stage 1, whose weights it starts from (3.2)."""
    trade_off: Positive = 6.0
    """lambda of Eq. (3); A.2.2. DeACL uses 2."""
    strategy: Strategy = Strategy.BOTH
    """Eq. (4); (i) and (ii) of B.1 are `away` and `toward`."""
    neighbour: AtLeastTwo = 2
    """n of B.2: the n-th nearest cluster, the own one being the first (4.3)."""
    neighbour_of: Ranked = Ranked.IMAGE
    """Silent; 3.2 (iii) says 'for each data point x', so the image's nearest, not its centroid's."""
    clusters: AtLeastTwo | None = None
    """K; None chooses it by silhouette (4.1). Silent: cosine distance, over all images, on the initial f2."""
    cluster_grid: tuple[AtLeastTwo, AtLeastTwo, Count] = (10, 300, 5)
    """First, last and step of the K tried: all K of A.2.2 are multiples of 5 up to 215; range chosen."""
    seeding: Seeding = Seeding.KMEANS_PLUS_PLUS
    """A.2.2 uses AFK-MC2 for speed; k-means++, which it approximates, is exact and costs seconds."""
    kmeans_iterations: Count = 100
    """Silent; chosen: Lloyd steps at most, of a single start."""
    kmeans_tolerance: Fraction = 0.001
    """Silent; chosen: done once less than this share of the images changes cluster."""
    recluster_every: Count = 1
    """Epochs from one clustering to the next; more than `epochs` is once. Silent: 3.2 (i) says f2, which moves, and
    fixing K 'throughout training' (4.1) implies repeated clustering."""
    cluster_route: Route = CLEAN
    """Silent; un-augmented images through the clean route, eval mode."""
    eps: Positive = 8 / 255
    """3.2."""
    attack_steps: Count = 5
    """3.2."""
    step_fraction: Positive = 0.25
    """Step 2/255 as a fraction of eps: silent for pre-training; DeACL's, and A.3.2's for fine-tuning."""
    clip_start: bool = False
    """Silent; DeACL's start U(-eps, eps) is not clipped to [0, 1]."""
    attack_route: Route = ADVERSARIAL
    """Silent; ACL's convention, which A.2.2 names for its dual batch norm."""
    stop_gradient: bool = False
    """Silent; as DeACL (mocov2_distillation_AT.py:233-235) the second term of Eq. (3) moves the clean features too."""
    learning_rate: Positive = 0.5
    """A.2.2."""
    warmup_start: Positive = 0.003
    """DeACL solo/methods/base_for_adversarial_training.py:381-388."""
    warmup_epochs: EpochLength = 10
    """DeACL solo/methods/base_for_adversarial_training.py:381-388."""
    momentum: Fraction = 0.9
    """DeACL bash_files/DeACL_cifar10_resnet18.sh."""
    weight_decay: NonNegative = 5e-4
    """DeACL, as above: on every parameter of the encoder."""
    crop_padding: Count = 4
    """A.2.2: random crop after padding. DeACL's 4 zeros on CIFAR; the same on STL-10 is chosen."""
    flip_probability: Fraction = 0.5
    """A.2.2."""
    scored_route: Route = ADVERSARIAL
    """Silent; ACL's convention (bnNameCnt 1), for clean accuracy too."""

    @property
    def grid(self) -> range:
        """The K tried."""
        first, last, step = self.cluster_grid
        return range(first, last + 1, step)

    @model_validator(mode="after")
    def _neighbour_exists(self) -> Self:
        if self.neighbour > (least := self.clusters or self.cluster_grid[0]):
            raise ValueError(f"neighbour {self.neighbour} does not exist where there may be only {least} clusters")
        return self


class NCPState(nn.Module):
    """What stage 2 changes: the student, and each image's clusters of this epoch."""

    centroids: Tensor
    own: Tensor
    neighbour: Tensor
    clusters: Tensor

    def __init__(self, teacher: Encoder, student: ResNetEncoder, images: int, most_clusters: int) -> None:
        super().__init__()
        self.f1, self.f2 = Frozen(teacher), student
        self.register_buffer("centroids", torch.zeros(most_clusters, student.feature_dim))
        self.register_buffer("own", torch.zeros(images, dtype=torch.int64))
        self.register_buffer("neighbour", torch.zeros(images, dtype=torch.int64))
        self.register_buffer("clusters", torch.zeros((), dtype=torch.int64))


class NCP(TrainingMethod[NCPConfig, NCPState]):
    """Stage 2: adversarial training toward the neighbouring cluster."""

    name = "ncp"
    summary = "NCP-ACL: attacks toward the neighbouring cluster, over a SimCLR teacher"
    Config = NCPConfig
    DISPUTES = {
        "neighbour": (
            "'second nearest' counts the own cluster as the first (4.3); table 5's 'second closest neighboring "
            "cluster' could mean n = 3, which has the better AA there"
        ),
        "clusters": "on STL-10, seed 0, K is 215 in 4.1 and figure 2, and 210 in A.2.2",
        "recluster_every": (
            "3.2 (i) says f2, which moves, and not when; fixing K 'throughout training' (4.1) implies repeated "
            "clustering"
        ),
        "neighbour_of": (
            "3.2 (iii) ranks clusters 'for each data point x'; centroids by their own distance would be shared by a "
            "cluster"
        ),
        "scored_route": (
            "A.2.2 takes ACL's two batch norms and does not say which is scored; ACL scores the adversarial one"
        ),
        "statistics in evaluation": (
            "A.3's settings are those of DeACL's adv_finetune.py, which re-estimates running statistics: a protocol's"
            " matter here"
        ),
    }
    PAPER = {
        "cifar10": NCPConfig(),
        "cifar100": NCPConfig(epochs=100),
        "stl10": NCPConfig(epochs=1000, architecture=Architecture.RESNET18_IMAGENET),
    }
    # Chosen on the held-out slice (tests/studies/held_out.py).
    QUICK = {
        "digits": NCPConfig(
            architecture=Architecture.SMALL,
            epochs=16,
            batch_size=128,
            warmup_epochs=1,
            cluster_grid=(5, 60, 5),
            eps=0.1,
            crop_padding=1,
            flip_probability=0.0,
        )
    }

    def requires(self) -> Mapping[str, Upstream]:
        """Stage 1."""
        return {"teacher": Upstream(self.config.teacher)}

    def check(self, images: int | None = None) -> None:
        """No more clusters than there are images."""
        c = self.config
        if images is not None and c.clusters:
            check_clusters(c.clusters, images)
        elif images is not None:
            check_grid(c.grid, images)

    def passes(self) -> Passes:
        """The teacher, the attack, two passes of the student; the clustering's pass per epoch is not a step's."""
        steps = self.config.attack_steps
        return Passes(forward=1 + steps + 2, backward_input=steps, backward=2)

    def passes_per_epoch(self) -> Passes:
        """A step's, and a forward pass for every clustering and for the choice of K."""
        c, step = self.config, self.passes()
        encoded = math.ceil(c.epochs / c.recluster_every) + (c.clusters is None)
        return replace(step, forward=step.forward + encoded / c.epochs)

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """The student f2: two routes, scored on `scored_route`."""
        c = self.config
        return resnet_encoder(
            c.architecture, profile, routes=(CLEAN, ADVERSARIAL), active_route=c.scored_route, init=Init.SOLO
        )

    def build(self, images: UnlabelledImages, run: Run) -> NCPState:
        """f2 starts from f1's weights, both of its routes as copies of f1's batch norm."""
        teacher = run.upstream["teacher"]
        student = initialised_from(teacher, self.encoder(images.profile), images)
        return NCPState(teacher, student, len(images), self.config.clusters or self.config.cluster_grid[1])

    def optimiser(self, net: NCPState) -> torch.optim.Optimizer:
        """SGD over the student."""
        c = self.config
        return torch.optim.SGD(
            net.f2.parameters(), lr=c.learning_rate, momentum=c.momentum, weight_decay=c.weight_decay, fused=True
        )

    def learning_rate(self) -> WarmupCosine:
        """DeACL's schedule: per epoch, a linear warm-up, then cosine to zero."""
        return deacl(self.config.learning_rate, self.config.warmup_epochs, self.config.warmup_start)

    @property
    def weak(self) -> Views:
        """A.2.2: random crop after padding, flip."""
        return Views(PaddedCrop(self.config.crop_padding), HorizontalFlip(self.config.flip_probability))

    def prepare(self, net: NCPState, images: UnlabelledImages, run: Run) -> None:
        """K by silhouette on the initial f2's features, fixed from here on (4.1)."""
        c = self.config
        chosen = c.clusters
        if chosen is None:
            choice = choose_clusters(
                self.features(net, images),
                c.grid,
                lambda k: run.randomness.generator(f"silhouette {k}", device=run.device),
                seeding=c.seeding,
                iterations=c.kmeans_iterations,
                tolerance=c.kmeans_tolerance,
            )
            chosen = choice.clusters
            run.record({"silhouette": {str(k): score for k, score in choice.scores}})
        net.clusters.fill_(chosen)
        run.record({"clusters": chosen})

    def before_epoch(self, net: NCPState, images: UnlabelledImages, run: Run, epoch: int) -> None:
        """3.2 (i)-(iii): each image's own and neighbouring centroid, from the current f2."""
        c = self.config
        if epoch % c.recluster_every:
            return
        features = self.features(net, images)
        generator = run.randomness.generator("k-means", epoch=epoch, device=run.device)
        found = spherical_kmeans(
            features,
            int(net.clusters),
            generator,
            seeding=c.seeding,
            iterations=c.kmeans_iterations,
            tolerance=c.kmeans_tolerance,
        )
        points = features if c.neighbour_of is Ranked.IMAGE else found.centroids[found.assignment]
        net.centroids[: len(found.centroids)] = found.centroids
        net.own.copy_(found.assignment)
        net.neighbour.copy_(neighbours(points, found, c.neighbour))
        run.record({"epoch": epoch, **collapse(features, found)})

    def features(self, net: NCPState, images: UnlabelledImages) -> Tensor:
        """f2 of every image as it is, in eval mode: [N, d]."""
        with undisturbed(net.f2):
            return encode_all(net.f2.route(self.config.cluster_route), images)

    def step(self, net: NCPState, batch: Batch, update: Update) -> None:
        """Eq. (3) on adversarial views by Eq. (4)."""
        x = self.weak(batch.pixels, batch.generator("view"))
        x_adv = self.perturb(net, x, batch)
        z_1 = net.f1.encode(x)
        z, z_adv = net.f2.features(x, CLEAN), net.f2.features(x_adv, ADVERSARIAL)
        anchor = z.detach() if self.config.stop_gradient else z
        standard, robust = negative_cosine(z, z_1), negative_cosine(z_adv, anchor)
        update(standard + self.config.trade_off * robust, standard=standard, robust=robust)

    def perturb(self, net: NCPState, x: Tensor, batch: Batch) -> Tensor:
        """Eq. (4): x + delta, by PGD in eval mode."""
        c = self.config
        attack = LinfPGD(eps=c.eps, steps=c.attack_steps, step_size=c.step_fraction * c.eps)
        own, neighbour = net.centroids[net.own[batch.index]], net.centroids[net.neighbour[batch.index]]
        start = uniform_start(x, c.eps, batch.generator("attack"), clip=c.clip_start)

        def objective(x: Tensor) -> Tensor:
            return OBJECTIVES[c.strategy](net.f2.features(x, c.attack_route), own, neighbour).sum()

        with undisturbed(net.f2):
            return ascend(objective, x, start, attack)

    def export(self, net: NCPState) -> Encoder:
        """The student on its scored route."""
        return net.f2.route(self.config.scored_route)
