"""AdvCL: adversarial contrastive learning with high frequencies and pseudo-labels (Fan et al., 2021).

Official code: LijieFan/AdvCL at 24cb7a6. Its predictor and `head_ce`, which no loss reaches, are left out, and batch
norms see the whole batch (it needs two GPUs, each with statistics of its own half).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.attacks.pgd import AttackMode, LinfPGD, ascend, undisturbed, uniform_start
from bench.config import Count, EpochLength, Fraction, NonNegative, Positive, TrainingConfig
from bench.contract import Encoder, Passes, Run, UnlabelledImages, Upstream
from bench.data.profiles import DataProfile
from bench.data.views import ColourJitter, Grayscale, HorizontalFlip, PaddedCrop, RandomResizedCrop, Views
from bench.engine.loop import Batch, TrainingMethod, Update
from bench.engine.schedules import WarmupIntoCosine, advcl
from bench.errors import BenchError
from bench.inputs import InputFile
from bench.models.encoder import Normalisation, ResNetEncoder, resnet_encoder
from bench.models.projectors import Head, Projector
from bench.models.resnet import Architecture, Init
from methods.parts.frequency import high_frequency
from methods.parts.losses import nt_xent_of_views
from methods.parts.pseudo_labels import clustered, read_pseudo_labels


class Route(StrEnum):
    """The encoder's batch norms (pretraining_advCL.py:208): for clean views, and for images that attack either loss."""

    CLEAN = "clean"
    ADVERSARIAL = "adv"
    PSEUDO = "adv_ce"


CLEAN, ADVERSARIAL, PSEUDO = Route
SHARED = "shared"  # resnet_cifar_multibn_ensembleFC.py:274-279: the projector has one batch norm for all routes.
LABELS = "labels"


class AdvCLConfig(TrainingConfig):
    """Settings of AdvCL; the defaults are those for CIFAR-10."""

    epochs: EpochLength = 1000
    """pretraining_advCL.py `--epoch`. Its loop runs 1002; the checkpoint after 1001 is scored."""
    batch_size: Count = 512
    """pretraining_advCL.py `--batch-size`."""
    labels: InputFile | None = None
    """Pseudo-labels: a .npz file of integer arrays k2, k10, ... (one per entry of `clusters`), a label from 0 up for
    each pre-training image in the order of its source. The authors' (data/imagenet_clPretrain_pseudo_labels.pkl, in its
    arrays `pseudo_train_2`, ...) are clusters of features of an encoder pre-trained on ImageNet: tables say so."""
    labels_from: str | None = None
    """Pseudo-labels instead of a file: a method, as `--methods` takes it, whose features are clustered by spherical
    k-means. Chosen: the authors' clustering was not released."""
    clusters: tuple[Count, ...] = (2, 10, 50, 100, 500)
    """K of each linear head on pseudo-labels (resnet_cifar_multibn_ensembleFC.py:258-262)."""
    architecture: Architecture = Architecture.RESNET18_PADDING1
    """resnet_cifar_multibn_ensembleFC.py:246-249."""
    normalisation: Normalisation = Normalisation.NONE
    """resnet_cifar_multibn_ensembleFC.py has none."""
    temperature: Positive = 0.5
    """pretraining_advCL.py `--nce_t`."""
    base_temperature: Positive = 0.07
    """losses.py:7-94: the contrastive loss is multiplied by temperature / base temperature = 7.14, so that the
    pseudo-labels weigh .2/7.14 of a plain NT-Xent. Disputed; 0.5 is the loss without the factor."""
    pseudo_weight: NonNegative = 0.2
    """pretraining_advCL.py `--ce_weight`."""
    radius: Positive = 8
    """pretraining_advCL.py `--radius`: the high-frequency view lacks the frequencies below, in cycles per image."""
    eps: Positive = 8 / 255
    """pretraining_advCL.py `--epsilon`."""
    attack_steps: Count = 5
    """pretraining_advCL.py `--iter`."""
    step_fraction: Positive = 0.25
    """Step 2/255 as a fraction of eps; pretraining_advCL.py `config`."""
    attack_mode: AttackMode = AttackMode.TRAIN
    """pretraining_advCL.py:239: nothing calls `eval()`, so that each of the attack's passes moves running statistics,
    also of the route that is scored. Disputed; every other method attacks in `eval` mode."""
    learning_rate: Positive = 0.5
    """pretraining_advCL.py `--learning_rate`; falls to a thousandth (:70-85)."""
    warmup_start: Positive = 0.01
    """pretraining_advCL.py:70-85."""
    warmup_epochs: EpochLength = 10
    """pretraining_advCL.py:70-85."""
    momentum: Fraction = 0.9
    """pretraining_advCL.py:229."""
    weight_decay: NonNegative = 1e-4
    """pretraining_advCL.py `--weight_decay`, on every parameter."""
    crop_scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """pretraining_advCL.py:105-119."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """pretraining_advCL.py:105-119."""
    jitter_probability: Fraction = 0.8
    """pretraining_advCL.py:105-119."""
    gray_probability: Fraction = 0.2
    """pretraining_advCL.py:105-119."""
    flip_probability: Fraction = 0.5
    """pretraining_advCL.py:105-119, of all three views."""
    crop_padding: Count = 4
    """pretraining_advCL.py:105-119, of the view that is attacked."""


class AdvCLState(nn.Module):
    """Encoder, projector, the linear heads on pseudo-labels, and the labels of every image, [N, heads]."""

    labels: Tensor

    def __init__(self, encoder: ResNetEncoder, clusters: tuple[int, ...], images: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = Projector(Head.ADVCL, encoder.feature_dim, (SHARED,))
        self.heads = nn.ModuleList(nn.Linear(encoder.feature_dim, count) for count in clusters)
        self.register_buffer("labels", torch.zeros(images, len(clusters), dtype=torch.int64))

    def project(self, x: Tensor, route: str) -> Tensor:
        """[B, 3, H, W] -> [B, 128]."""
        projection: Tensor = self.projector(self.encoder.features(x, route), SHARED)
        return projection

    def logits(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> [B, K] of each head."""
        features = self.encoder.features(x, PSEUDO)
        return [head(features) for head in self.heads]


class AdvCL(TrainingMethod[AdvCLConfig, AdvCLState]):
    """Four views, one of them attacked, one of high frequencies; and pseudo-labels under an attack of their own."""

    name = "advcl"
    summary = "AdvCL: contrast with a high-frequency view, and pseudo-labels from a source that you name"
    Config = AdvCLConfig
    DISPUTES = {
        "base_temperature": (
            "losses.py:7-94 multiplies the contrastive loss by 7.14, so that the weight .2 of pseudo-labels is .028 "
            "of a plain NT-Xent"
        ),
        "attack_mode": (
            "pretraining_advCL.py:239: the attack runs in train mode, and each of its passes moves running statistics"
        ),
        "labels": (
            "the pseudo-labels come from an encoder trained on ImageNet, and neither the code that made them nor "
            "those for CIFAR-100 are released (issue 2)"
        ),
        "epochs": "the loop of pretraining_advCL.py runs 1002 epochs, the checkpoint after 1001 is scored",
        "unclamped high frequencies": "the high-frequency view of fr_util.py is not clamped and may be negative; kept",
        "random encoder scored": (
            "finetuning_advCL_SLF.py loads with strict=False keys that carry `module.`: on one GPU nothing loads "
            "(issue 6)"
        ),
        "best epoch on test": (
            "finetuning_advCL_SLF.py:310-345 reports the best epoch on the test images; here the last one is scored"
        ),
        "crashes today": (
            "utils.py:42 calls `stty size` and fails without a terminal; pretraining_advCL.py:222-224 refuses a "
            "single GPU"
        ),
    }
    # The paper scores CIFAR-100, too; the released code has settings for CIFAR-10 alone.
    PAPER = {"cifar10": AdvCLConfig(), "cifar100": AdvCLConfig()}
    # Chosen on the held-out slice (tests/studies/held_out.py). The last batch, which is kept, fills half of the running
    # statistics that are scored (six passes of momentum .1): 61 images here, 5 with batches of 128. Seven tries with
    # radius 2 and larger batches learnt next to no robustness.
    QUICK = {
        "digits": AdvCLConfig(
            labels_from="simclr",
            clusters=(2, 10, 50),
            architecture=Architecture.SMALL,
            epochs=8,
            batch_size=67,
            warmup_epochs=1,
            radius=1,
            eps=0.15,
            crop_scale=(0.85, 1.0),
            jitter=(0.2, 0.2, 0.2, 0.05),
            flip_probability=0.0,
            crop_padding=1,
        )
    }
    drop_last = False  # pretraining_advCL.py: the loader keeps the last, smaller batch.

    def check(self, images: int | None = None) -> None:
        """One source of pseudo-labels, and no more clusters than images."""
        c = self.config
        if (c.labels is None) == (c.labels_from is None):
            raise BenchError(
                f"advcl needs pseudo-labels from {'one source, not two' if c.labels else 'a source that you name'}: "
                f"write advcl[labels=FILE.npz,labels_from=none], or advcl[labels_from=simclr] for clusters of another "
                f"method's features."
            )
        if images is not None and max(c.clusters) > images:
            raise BenchError(
                f"advcl's clusters={c.clusters} are more than the {images} images to pre-train on: use more images, or "
                f"fewer clusters, e.g. advcl[clusters=(2,{min(10, images)})]."
            )
        if images is not None:
            self.per_image(images)

    def external_data(self) -> bool:
        """Labels of a file come from elsewhere: the authors' from an encoder that saw ImageNet."""
        return self.config.labels is not None

    def requires(self) -> Mapping[str, Upstream]:
        """The encoder whose features are clustered, if any."""
        return {LABELS: Upstream(self.config.labels_from)} if self.config.labels_from else {}

    def per_image(self, images: int) -> Mapping[str, Tensor]:
        """The pseudo-labels of a file, if any: [images, heads]."""
        c = self.config
        return {LABELS: read_pseudo_labels(c.labels, c.clusters, images)} if c.labels else {}

    def passes(self) -> Passes:
        """Each step of the attacks passes four views for the one loss and one for the other, as the released code."""
        steps = self.config.attack_steps
        return Passes(forward=5 * steps + 5, backward_input=2 * steps, backward=5)

    def passes_per_epoch(self) -> Passes:
        """A step's, and a forward pass of `labels_from` for the clusters."""
        step, encoded = self.passes(), bool(self.config.labels_from)
        return replace(step, forward=step.forward + encoded / self.config.epochs)

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """Three routes; that of the contrastive attack is scored (finetuning_advCL_SLF.py)."""
        c = self.config
        return resnet_encoder(
            c.architecture,
            profile,
            routes=tuple(Route),
            active_route=ADVERSARIAL,
            normalisation=c.normalisation,
            init=Init.KAIMING_FAN_OUT,
        )

    def build(self, images: UnlabelledImages, run: Run) -> AdvCLState:
        """Everything from scratch."""
        return AdvCLState(self.encoder(images.profile), self.config.clusters, len(images))

    def prepare(self, net: AdvCLState, images: UnlabelledImages, run: Run) -> None:
        """The pseudo-labels of every image, fixed from here on."""
        self.check(len(images))
        net.labels.copy_(run.per_image[LABELS] if self.config.labels else self.cluster(images, run))

    def cluster(self, images: UnlabelledImages, run: Run) -> Tensor:
        """Clusters of the features of `labels_from`: [N, heads]."""

        def generator(clusters: int) -> torch.Generator:
            return run.randomness.generator(f"k-means {clusters}", device=run.device)

        return clustered(run.upstream[LABELS], images, self.config.clusters, generator)

    def optimiser(self, net: AdvCLState) -> torch.optim.Optimizer:
        """SGD over everything."""
        c = self.config
        return torch.optim.SGD(net.parameters(), lr=c.learning_rate, momentum=c.momentum, weight_decay=c.weight_decay)

    def learning_rate(self) -> WarmupIntoCosine:
        """A linear warm-up per step into a cosine per epoch."""
        return advcl(self.config.learning_rate, self.config.warmup_epochs, self.config.warmup_start)

    @property
    def view(self) -> Views:
        """Of x_1 and x_2 (pretraining_advCL.py:105-119)."""
        c = self.config
        return Views(
            RandomResizedCrop(scale=c.crop_scale),
            HorizontalFlip(c.flip_probability),
            ColourJitter(*c.jitter, p=c.jitter_probability),
            Grayscale(c.gray_probability),
        )

    @property
    def weak(self) -> Views:
        """Of x, which is attacked (pretraining_advCL.py:105-119)."""
        return Views(PaddedCrop(self.config.crop_padding), HorizontalFlip(self.config.flip_probability))

    def step(self, net: AdvCLState, batch: Batch, update: Update) -> None:
        """L_con(x_cl, x_1, x_2, x_HFC) + .2 mean_K CE_K(x_ce), of which x_cl and x_ce attack one weak view x.

        pretraining_advCL.py:253-271.
        """
        x_1, x_2 = (self.view(batch.pixels, batch.generator(name)) for name in ("first view", "second view"))
        x = self.weak(batch.pixels, batch.generator("weak view"))
        clean = (x_1, x_2, high_frequency(x, self.config.radius))
        labels = net.labels[batch.index]
        x_cl = self.perturb(net, x, batch, "attack", lambda x: self.contrast(net, x, clean))
        x_ce = self.perturb(net, x, batch, "pseudo-label attack", lambda x: self.pseudo(net, x, labels))
        contrast, pseudo = self.contrast(net, x_cl, clean), self.pseudo(net, x_ce, labels)
        update(contrast + self.config.pseudo_weight * pseudo, contrast=contrast, pseudo=pseudo)

    def contrast(self, net: AdvCLState, x_adv: Tensor, clean: tuple[Tensor, ...]) -> Tensor:
        """losses.py:7-94 on four views."""
        c = self.config
        views = [net.project(x_adv, ADVERSARIAL), *(net.project(x, CLEAN) for x in clean)]
        pairs = nt_xent_of_views(views, c.temperature) / (len(views) - 1)
        return c.temperature / c.base_temperature * pairs

    def pseudo(self, net: AdvCLState, x_adv: Tensor, labels: Tensor) -> Tensor:
        """The cross-entropy of pseudo-labels [B, heads], mean over heads (pretraining_advCL.py:262-266)."""
        pairs = zip(net.logits(x_adv), labels.unbind(dim=1), strict=True)
        return torch.stack([cross_entropy(logits, own) for logits, own in pairs]).mean()

    def perturb(
        self, net: AdvCLState, x: Tensor, batch: Batch, purpose: str, loss: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """x + delta that raises `loss` (pretraining_advCL.py:158-205), by PGD."""
        c = self.config
        attack = LinfPGD(eps=c.eps, steps=c.attack_steps, step_size=c.step_fraction * c.eps)
        start = uniform_start(x, c.eps, batch.generator(purpose), clip=False)
        with undisturbed(net, mode=c.attack_mode):
            return ascend(loss, x, start, attack)

    def export(self, net: AdvCLState) -> Encoder:
        """The encoder on the route of the contrastive attack."""
        return net.encoder
