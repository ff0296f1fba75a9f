"""DynACL-AIR: adversarial contrastive learning with invariant regularisation (Xu et al., NeurIPS 2023).

Official code: GodXuxilie/Enhancing_ACL_via_AIR at 15cf0a7, over the DynACL of that repository, which is not `dynacl`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, log_softmax

from bench.config import NonNegative
from bench.contract import Passes, Run, UnlabelledImages
from bench.engine.loop import Batch, Update
from bench.models.resnet import Architecture
from methods.parts.dual_stream import ADVERSARIAL, CLEAN
from methods.parts.fading import FadingBranch, FadingConfig, FadingMethod


class Variant(StrEnum):
    """What stands for log p in the divergence of p from a target."""

    PAPER = "paper"
    RELEASE = "release"


FROM_LOG: Mapping[Variant, Callable[[Tensor], Tensor]] = {
    Variant.PAPER: lambda log_p: log_p,
    Variant.RELEASE: torch.exp,
}
"""log p to what stands for it: as released p itself."""


class AIRConfig(FadingConfig):
    """Settings of AIR; the defaults are those for CIFAR-10."""

    variant: Variant = Variant.PAPER
    """`paper`: Kullback-Leibler divergences. `release`: AIR.py:78-98 hands `kl_div` probabilities where it expects
    their logarithms: both regularisers stay nearly constant, and flatten p_j rather than bring it to p_i."""
    sir_weight: NonNegative = 0.5
    """lambda_1; AIR.py:15-20."""
    air_weight: NonNegative = 0.5
    """lambda_2; AIR.py:15-20."""


class AIR(FadingMethod[AIRConfig, FadingBranch]):
    """Dual streams whose relation to the unaugmented image shall not depend on the view."""

    name = "air"
    summary = "DynACL-AIR: the relation to the unaugmented image kept the same across views"
    Config = AIRConfig
    DISPUTES = {
        "variant": "AIR.py:78-98 takes p for log p in both divergences, which leaves them nearly constant",
        "another DynACL": "no momentum encoder, bicubic crops, a rate per step (pretraining.py:106-116, 192-200)",
        "epochs of the heads": (
            "with `--mode ALL`, as in its README, the 5 epochs of SLF on CIFAR-10 also hold for ALF and AFF "
            "(finetuning_utils.py:740-905); a protocol's matter here"
        ),
        "code that cannot run": (
            "models/*.py import a module that is not there, `do_normalize` and `return_features` are unknown arguments "
            "(LP-AFF.py:583), and AFF loads 21 of 224 tensors (finetuning_utils.py:478-483)"
        ),
    }
    PAPER = {
        "cifar10": AIRConfig(),
        "cifar100": AIRConfig(),
        "stl10": AIRConfig(architecture=Architecture.RESNET18_IMAGENET, pretrain_pool="stl10:unlabelled"),
    }
    # Chosen on the held-out slice (tests/studies/held_out.py).
    QUICK = {
        "digits": AIRConfig(
            architecture=Architecture.SMALL,
            epochs=14,
            batch_size=128,
            warmup_epochs=1,
            plateau=1,
            eps=0.1,
            crop_scale=(0.85, 1.0),
            flip_probability=0.0,
        )
    }

    def passes(self) -> Passes:
        """Two views: the attack, then both streams; and the image as it is."""
        steps = self.config.attack_steps
        return Passes(forward=2 * steps + 5, backward_input=2 * steps, backward=5)

    def build(self, images: UnlabelledImages, run: Run) -> FadingBranch:
        """One network sees both views, in one batch."""
        return FadingBranch(self.encoder(images.profile), self.config.projector)

    def step(self, net: FadingBranch, batch: Batch, update: Update) -> None:
        """pretraining.py:333-348: L = (1 - w) NT-Xent(z) + (1 + w) NT-Xent(z~) + .5 SIR + .5 AIR.

        z of both views and z_o of the image itself on the clean route, z~ of the perturbed views on the other.
        """
        c, w = self.config, self.weight(net)
        x = self.two_views(batch, net.strength)
        z_adv = net(self.perturb(net, x, batch), ADVERSARIAL)
        z, z_o = net(x, CLEAN), net(batch.pixels, CLEAN)
        clean, adversarial = self.contrast(z), self.contrast(z_adv)
        sir, air = self.standard_regulariser(z, z_o), self.adversarial_regulariser(z_adv, z, z_o)
        loss = (1 - w) * clean + (1 + w) * adversarial + c.sir_weight * sir + c.air_weight * air
        update(loss, clean=clean, adversarial=adversarial, sir=sir, air=air)

    def standard_regulariser(self, z: Tensor, z_o: Tensor) -> Tensor:
        """SIR = KL(p_j || p_i) of p_v = p(x_v, x_o), v the first view i or the second j; [2B, d], [B, d] -> scalar.

        AIR.py:74-81.
        """
        z_i, z_j = z.chunk(2)
        return self.divergence(self.log_relation(z_j, z_o), self.log_relation(z_i, z_o))

    def adversarial_regulariser(self, z_adv: Tensor, z: Tensor, z_o: Tensor) -> Tensor:
        """AIR = sum_k m_j log(m_j / m_i) of m_v = p(x~_v, x_v) p(x~_v, x_o); [2B, d], [2B, d], [B, d] -> scalar.

        The product is not a distribution: it sums to less than 1, in the paper too. AIR.py:84-98.
        """
        log_m_i, log_m_j = (
            self.log_relation(perturbed, view) + self.log_relation(perturbed, z_o)
            for perturbed, view in zip(z_adv.chunk(2), z.chunk(2), strict=True)
        )
        return self.divergence(log_m_j, log_m_i)

    def log_relation(self, a: Tensor, b: Tensor) -> Tensor:
        """log p(a, b): which image of the batch has the closest pair, a softmax of a_k . b_k / t over k; [B]."""
        return log_softmax(cosine_similarity(a, b, dim=1) / self.config.temperature, dim=0)

    def divergence(self, log_target: Tensor, log_p: Tensor) -> Tensor:
        """sum_k target_k (log target_k - log p_k) of two [B], a scalar; as released p_k stands for its logarithm."""
        return (log_target.exp() * (log_target - FROM_LOG[self.config.variant](log_p))).sum()
