"""ACL: adversarial contrastive learning in dual streams (Jiang et al., 2020).

Official code: VITA-Group/Adversarial-Contrastive-Learning at 399eabd, which releases this of the paper's variants.
"""

from __future__ import annotations

from bench.contract import Encoder, Passes, Run, UnlabelledImages
from bench.engine.loop import Batch, Update
from bench.engine.schedules import WarmupCosine, acl
from bench.models.resnet import Architecture
from methods.parts.dual_stream import ADVERSARIAL, CLEAN, Branch, DualStreamConfig, DualStreamMethod


class ACLConfig(DualStreamConfig):
    """Settings of ACL; the defaults are those for CIFAR-10."""


class ACL(DualStreamMethod[ACLConfig, Branch]):
    """SimCLR on clean and on adversarial views, averaged; the streams meet in the shared weights alone."""

    name = "acl"
    summary = "ACL: SimCLR in two streams, clean and adversarial, each with its batch norm"
    Config = ACLConfig
    DISPUTES = {
        "projector": (
            "two layers in the first commit (4f3d98a), the branch inverted from 137f7cd to e43df4e (issue 1), three "
            "layers since (models/resnet_multi_bn.py:181-216)"
        ),
        "normalisation": (
            "ImageNet's statistics on CIFAR (models/resnet_multi_bn.py:232-233), which the released checkpoints need"
        ),
        "dual stream alone": (
            "of the paper's variants the code releases this one (train_simCLR.py:351-385); A2A and A2S are remnants "
            "(issue 2)"
        ),
        "start outside pixels": "the attack's first iterate is not clamped to [0, 1] (train_simCLR.py:351-385); kept",
        "replayed crops": (
            "fine-tuning's evaluation resets torch's generator each epoch (utils.py:80), and from torchvision 0.8 on "
            "every epoch sees the same crops; pre-training is not concerned"
        ),
        "crashes today": (
            "optimizer/lars.py calls add_(scalar, tensor), which torch no longer has; models import "
            "torchvision.models.utils, which is gone"
        ),
    }
    PAPER = {"cifar10": ACLConfig(), "cifar100": ACLConfig()}
    # Chosen on the held-out slice (tests/studies/held_out.py).
    QUICK = {
        "digits": ACLConfig(
            architecture=Architecture.SMALL,
            epochs=11,
            batch_size=128,
            warmup_epochs=1,
            eps=0.1,
            crop_scale=(0.85, 1.0),
            flip_probability=0.0,
        )
    }

    def passes(self) -> Passes:
        """Two views: the attack, then both streams."""
        steps = self.config.attack_steps
        return Passes(forward=2 * steps + 4, backward_input=2 * steps, backward=4)

    def build(self, images: UnlabelledImages, run: Run) -> Branch:
        """One network sees both views, in one batch."""
        return self.branch(images.profile)

    def learning_rate(self) -> WarmupCosine:
        """Per step: a linear warm-up, then cosine to 1e-6."""
        return acl(self.config.learning_rate, self.config.warmup_epochs)

    def step(self, net: Branch, batch: Batch, update: Update) -> None:
        """train_simCLR.py:205-227: L = (NT-Xent(f(x); clean) + NT-Xent(f(x + delta); adv)) / 2."""
        x = self.two_views(batch)
        x_adv = self.perturb(net, x, batch)
        adversarial = self.contrast(net(x_adv, ADVERSARIAL))
        clean = self.contrast(net(x, CLEAN))
        update((clean + adversarial) / 2, clean=clean, adversarial=adversarial)

    def export(self, net: Branch) -> Encoder:
        """The encoder on its adversarial route, without the projector."""
        return net.encoder
