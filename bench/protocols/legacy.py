"""The protocols of the literature, repeated from the same parts as this benchmark's own. Imports no torch.

What all of them share: the last epoch is scored. Where a paper's code kept the epoch that was best on test images
(RobustSSL's option, AMOC's linear_adv.py and linear_trades.py, ACL's on its validation images), that is not repeated:
test images choose nothing here. AutoAttack is `standard` in seeded batches of 500, which is where bits depend on it;
theirs were of 100 to 256 images, mostly unseeded. Stem and normalisation belong to the encoder, not to the protocol.
On `digits`, which no paper has, everything is as on CIFAR-10, with crops padded by 1 pixel and never mirrored (chosen);
where a paper pads by 4 pixels at 32x32, that is image side / 8 on every data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.attacks.catalogue import attack_of
from bench.attacks.threats import AUTOATTACK, CLEAN, PGD20, PGD20_SHORT_STEP, AttackSpec
from bench.protocols.parts import (
    TRANSFER,
    Augmentation,
    Case,
    EncoderMode,
    HeadInit,
    HeadRecipe,
    InnerAttack,
    Objective,
    Raises,
    Routes,
    Scope,
    SecondView,
    Start,
)

OF_LPAFT = "apgd-ce+apgd-t"
"""The two attacks that DynACL's LPAFT.py:524 calls AutoAttack."""
STANDARD = (CLEAN, PGD20, AUTOATTACK)
SHORT_STEP = (CLEAN, PGD20_SHORT_STEP, AUTOATTACK)
TRADES_ATTACK = InnerAttack(raises=Raises.DIVERGENCE, start=Start.GAUSSIAN)
"""TRADES trades.py:20-60: PGD-10 on the divergence, from .001 N(0, 1) away, step eps/4."""


@dataclass(frozen=True)
class Legacy:
    """A paper's or repository's protocol.

    Attributes:
        name: `HEAD@SOURCE`.
        recipe: how the head is fitted.
        why: sources, and what they leave open.
        attacks: in the order in which they run.
        version: raised whenever anything but `why` changes.
    """

    name: str
    recipe: HeadRecipe
    why: str
    attacks: tuple[AttackSpec, ...] = STANDARD
    version: int = 1


def everywhere(rate: float) -> Mapping[str, float]:
    """One rate for all data sets."""
    return dict.fromkeys(("cifar10", "cifar100", "stl10", "digits"), rate)


def fine_tuned(recipe: HeadRecipe) -> HeadRecipe:
    """The recipe with the encoder trained along, in train mode."""
    return replace(recipe, scope=Scope.ALL, encoder_mode=EncoderMode.TRAIN)


# NCP-ACL.

_NCP = HeadRecipe(
    rate_by_dataset={"cifar10": 0.1, "cifar100": 10.0, "stl10": 10.0, "digits": 0.1},
    init=HeadInit.DEFAULT,
    augmentation=Augmentation.ZERO_PAD_CROP_FLIP,
)
_NCP_WHY = (
    "NCP-ACL, section 4.1 and appendix A.3: 25 epochs, batch 512, SGD momentum .9, weight decay 2e-4, rate .1 on "
    "CIFAR-10 and 10 on CIFAR-100 and STL-10, divided by 10 at epochs 15 and 20; PGD-20 with step 2/255. What the "
    "paper leaves open follows DeACL's adv_finetune.py (commit 3fb81e3), whose settings these are: crops with zero "
    "padding of 4 pixels, flip, nn.Linear's default initialisation, the last epoch scored. Chosen: rate .1 on digits, "
    "padding of image side / 8 (1 on digits, 12 on STL-10), no flip on digits, AutoAttack in seeded batches of 500. "
)

NCP = (
    Legacy("slf@ncp", _NCP, _NCP_WHY + "The encoder, 'fixed' in the paper's words, is in eval mode."),
    Legacy(
        "slf@ncp-bn",
        replace(_NCP, encoder_mode=EncoderMode.TRAIN),
        _NCP_WHY
        + "Of the encoder, 'fixed' in the paper's words, only the parameters are: adv_finetune.py leaves it in "
        "train(), so that batch norm uses batch statistics and its running ones drift while the head is trained.",
    ),
    Legacy(
        "alf@ncp",
        replace(_NCP, objective=Objective.ADVERSARIAL),
        _NCP_WHY + "Adversarial images by PGD-10 with step 2/255 (section 4.1). The loss, which the paper does not "
        "name, is cross-entropy on them alone, as everywhere but in DeACL; the encoder is in eval mode.",
    ),
)

# AMOC: linear_std.py, linear_trades.py, linear_adv.py at cdeefda.

_AMOC = HeadRecipe(
    rate_by_dataset=everywhere(0.1),
    batch=128,
    augmentation=Augmentation.REFLECT_PAD_CROP_FLIP,
)
_AMOC_ROBUST = replace(_AMOC, weight_decay=5e-4)
_AMOC_TRADES = replace(
    _AMOC_ROBUST,
    objective=Objective.TRADES,
    inner=InnerAttack(raises=Raises.DIVERGENCE, start=Start.UNIFORM_CLIPPED),
)
_AMOC_WHY = (
    "crops with reflection padding of 4 pixels, flip, batch 128, rate .1; white_box_attack.py: PGD-20 with step "
    "eps/10. Chosen: rate .1 on digits and STL-10, padding of image side / 8 (1 on digits, 12 on STL-10), no flip on "
    "digits, AutoAttack in seeded batches of 500 (theirs: 128, unseeded)."
)

AMOC = (
    Legacy(
        "slf@amoc",
        _AMOC,
        "AMOC's README and linear_std.py (commit cdeefda): zero-initialised head, encoder in eval on the adversarial "
        "batch norm for clean images too, weight decay 2e-4, rate divided by 10 at epochs 15 and 20; " + _AMOC_WHY,
        SHORT_STEP,
    ),
    Legacy(
        "alf@amoc",
        _AMOC_TRADES,
        "AMOC's README of its last commit (cdeefda) trains the robust head by linear_trades.py: TRADES with beta 6 on "
        "a frozen encoder in eval, KL attack of 10 steps of eps/4 from anywhere in the ball (src/base.py:315-346), "
        "weight decay 5e-4. Its PGD-10 on test images before each epoch, which keeps the best one beside the last, is "
        "not repeated; " + _AMOC_WHY,
        SHORT_STEP,
    ),
    Legacy(
        "alf@amoc-ce",
        replace(_AMOC_ROBUST, objective=Objective.ADVERSARIAL, inner=InnerAttack(start=Start.UNIFORM_CLIPPED)),
        "AMOC's linear_adv.py, which its README named until January 2021: cross-entropy on PGD-10 images, relative "
        "step .25, weight decay 5e-4; the rest as alf@amoc: " + _AMOC_WHY,
        SHORT_STEP,
    ),
    Legacy(
        "aff@amoc",
        replace(fine_tuned(_AMOC_TRADES), epochs=100, milestones=(40, 60)),
        "AMOC's README: linear_trades.py --finetune -lp=ACL --epochs=100: encoder and head by TRADES with beta 6 in "
        "train(), the adversarial batch norm for both kinds of image, divided by 10 at epochs 40 and 60, weight decay "
        "5e-4; the rest as alf@amoc: " + _AMOC_WHY,
        SHORT_STEP,
    ),
)

# DeACL: adv_slf.py at dc0807e, adv_finetune.py at 3fb81e3. CIFAR-10 alone.

_DEACL = HeadRecipe(
    rate_by_dataset={"cifar10": 0.01, "digits": 0.01},
    init=HeadInit.DEFAULT,
    augmentation=Augmentation.ZERO_PAD_CROP_FLIP,
)
_DEACL_2024 = replace(_DEACL, encoder_mode=EncoderMode.TRAIN)
_DEACL_TRADES = replace(_DEACL_2024, objective=Objective.TRADES, inner=TRADES_ATTACK, separate_target=True)
_DEACL_WHY = (
    "25 epochs, batch 512, weight decay 2e-4, divided by 10 at epochs 15 and 20, nn.Linear's default initialisation, "
    "crops with zero padding of 4 pixels, flip; PGD-20 with step 2/255. CIFAR-10 alone: --dataset is parsed and "
    "ignored. Chosen: digits as CIFAR-10. Theirs: AutoAttack in batches of 256, seed 0. "
)

DEACL = (
    Legacy(
        "slf@deacl-2023",
        _DEACL,
        "DeACL until 2024 (adv_slf.py:110,219 at commit dc0807e): encoder in eval, rate .01. It printed the best of "
        "several epochs on test images, which is not repeated; AutoAttack met the last one. " + _DEACL_WHY,
    ),
    Legacy(
        "slf@deacl-2024",
        replace(_DEACL_2024, rate_by_dataset={"cifar10": 0.1, "digits": 0.1}),
        "DeACL since 2024 (adv_finetune.py:391 at commit 3fb81e3, README): parameters frozen, but the encoder in "
        "train(), so that batch norm uses batch statistics and its running ones drift; rate .1. " + _DEACL_WHY,
    ),
    Legacy(
        "alf@deacl-2024",
        _DEACL_TRADES,
        "DeACL since 2024 (adv_finetune.py, trades/trades.py:20-92): TRADES with beta 6 on the head alone, rate .01; "
        "encoder in eval under the attack and in train() under the loss, whose divergence takes a second clean pass: "
        "three updates of the running statistics per step. " + _DEACL_WHY,
    ),
    Legacy(
        "aff@deacl-2024",
        replace(_DEACL_TRADES, scope=Scope.ALL),
        "DeACL since 2024 (adv_finetune.py, trades/trades.py:20-92): as alf@deacl-2024, all parameters trained, at "
        "rate .01 where others take .1, and batch 512 where others take 128. " + _DEACL_WHY,
    ),
)

# DynACL: test_LF.py, test_AFF.py, LPAFT.py, LPAFT_AFF.py at 7d143db.

_DYNACL = HeadRecipe(
    rate_by_dataset=everywhere(0.01),
    milestones=(10, 20),
    augmentation=Augmentation.ZERO_PAD_CROP_FLIP,
)
_LPAFT = replace(
    _DYNACL,
    rate_by_dataset={"cifar10": 0.01, "cifar100": 0.05, "stl10": 0.1, "digits": 0.01},
    init=HeadInit.DEFAULT,
    nesterov=True,
)
_DUAL_TRADES = replace(
    fine_tuned(_DYNACL),
    rate_by_dataset={"cifar10": 0.1, "cifar100": 0.1, "digits": 0.1},
    batch=128,
    milestones=(15, 20),
    objective=Objective.TRADES,
    inner=replace(TRADES_ATTACK, start=Start.IMAGE),
    routes=Routes.DUAL_IF_ANY,
)
_DYNACL_WHY = (
    "batch 512, momentum .9, weight decay 2e-4, divided by 10 at epochs 10 and 20 of 25, crops with zero padding of 4 "
    "pixels, flip; PGD-20 with step 2/255. Theirs: AutoAttack in unseeded batches of 100. "
)
_LPAFT_WHY = (
    "DynACL's LPAFT.py:339-452 (commit 7d143db), which judges DynACL++: nn.Linear's default initialisation, Nesterov "
    "momentum, rate .01 on CIFAR-10, .05 on CIFAR-100, .1 on STL-10. It reports two of AutoAttack's four attacks with "
    "the settings of the constructor (LPAFT.py:524), an upper bound: here they have a score of their own, and `aa` is "
    "AutoAttack standard. Its pseudo-labels and adversarial fine-tuning are part of the method dynacl-pp. "
)

DYNACL = (
    Legacy(
        "slf@dynacl",
        _DYNACL,
        "DynACL's test_LF.py (commit 7d143db): zero-initialised head, encoder in eval on the adversarial batch norm, "
        "rate .01 on every data set by default, " + _DYNACL_WHY,
    ),
    Legacy(
        "alf@dynacl",
        replace(_DYNACL, objective=Objective.ADVERSARIAL),
        "DynACL's test_LF.py (commit 7d143db): as slf@dynacl, on PGD-10 images, " + _DYNACL_WHY,
    ),
    Legacy(
        "aff@dynacl",
        _DUAL_TRADES,
        "DynACL's test_AFF.py:33-157 and LPAFT_AFF.py:241-256 (commit 7d143db), CIFAR alone: zero-initialised head, "
        "encoder and head by TRADES with beta 6, clean images through the clean batch norm, adversarial ones through "
        "the adversarial one, which is scored; batch 128, rate .1 divided by 10 at epochs 15 and 20 of 25, weight "
        "decay 2e-4. The attack (utils.py:167-206) starts at the image, where the divergence has no slope: step 1 "
        "follows the signs of rounding errors, and the zero head leaves the first batch unattacked. An encoder without "
        "a second batch norm (dynacl-pp's here) is fine-tuned on the one it has.",
    ),
    Legacy("slf@dynacl-pp", _LPAFT, _LPAFT_WHY + "Encoder in eval, " + _DYNACL_WHY, (*STANDARD, attack_of(OF_LPAFT))),
    Legacy(
        "alf@dynacl-pp",
        replace(_LPAFT, objective=Objective.ADVERSARIAL, inner=InnerAttack(steps=20)),
        _LPAFT_WHY + "The head is trained on PGD-20 images, the helper's default (LPAFT.py:385-386), " + _DYNACL_WHY,
        (*STANDARD, attack_of(OF_LPAFT)),
    ),
)

# AIR: finetuning_utils.py at 15cf0a7.

_AIR = replace(_DYNACL, rate_by_dataset={"cifar10": 0.01, "cifar100": 0.1, "stl10": 0.1, "digits": 0.01})
_AIR_AFF = replace(_DUAL_TRADES, rate_by_dataset=everywhere(0.1), inner=TRADES_ATTACK)
_AIR_WHY = (
    "AIR's finetuning_utils.py:740-905 (commit 15cf0a7): zero-initialised head, encoder in eval on the adversarial "
    "batch norm, rate .01 on CIFAR-10, .1 elsewhere. One mode per process: with --mode ALL one mode's epochs stay for "
    "the next ones. "
)

AIR = (
    Legacy(
        "slf@air",
        replace(_AIR, cases=(Case(("air",), ("cifar10",), epochs=5),)),
        _AIR_WHY + "DynACL-AIR has 5 epochs on CIFAR-10, all others 25, " + _DYNACL_WHY,
    ),
    Legacy(
        "alf@air",
        replace(
            _AIR,
            objective=Objective.ADVERSARIAL,
            cases=(Case(datasets=("stl10",), batch=128), Case(("air-pp",), ("cifar10",), epochs=4)),
        ),
        _AIR_WHY + "On PGD-10 images; batch 128 on STL-10, and 4 epochs for DynACL-AIR++ on CIFAR-10, " + _DYNACL_WHY,
    ),
    Legacy(
        "aff@air",
        _AIR_AFF,
        "AIR's finetuning_utils.py (commit 15cf0a7): encoder and head by TRADES with beta 6, two batch norms, rate .1 "
        "divided by 10 at epochs 15 and 20 of 25, batch 128, weight decay 2e-4, attack from .001 N(0, 1) away. As "
        "written, lines 478-483 load a converted file into another network, so that only convolutions are loaded; "
        "that is not repeated (RobustSSL's copy, utils.py:542-552, is followed).",
    ),
)

# RobustSSL: bench/Finetuning_Methods/Vanilla_Finetuning at 19dc714.

_ACL_FAMILY = ("acl", "dynacl", "dynacl-pp", "air", "air-pp")
_SINGLE_STREAM = ("advcl", "deacl")
_ROBUSTSSL = replace(_DYNACL, rate_by_dataset=everywhere(0.1), batch=128, milestones=(15, 20))
_FAMILY_RATES = {"cifar10": 0.01, "cifar100": 0.05, "stl10": 0.1, "digits": 0.01, TRANSFER: 0.01}
_ROBUSTSSL_CASES = (
    Case(_ACL_FAMILY, batch=512, milestones=(10, 20), rate_by_dataset=_FAMILY_RATES),
    Case(("air",), rate_by_dataset={"cifar100": 0.1}),
    Case(("air-pp",), rate_by_dataset={"cifar100": 0.09, TRANSFER: 0.1}),
    Case(_ACL_FAMILY, (TRANSFER,), batch=128),
    Case(_SINGLE_STREAM, batch=512, rate_by_dataset={**everywhere(0.01), TRANSFER: 0.01}),
)
_ROBUSTSSL_WHY = (
    "RobustSSL's utils.py, setup_hyperparameter (commit 19dc714), whose linear settings are a table by method: ACL, "
    "DynACL and DynACL++ .01/.05/.1 on CIFAR-10/CIFAR-100/STL-10, AIR .1 and AIR++ .09 (ALF .1) on CIFAR-100, all of "
    "these in batches of 512, divided by 10 at epochs 10 and 20; AdvCL and DeACL .01, 512, 15 and 20; transfer to "
    "STL-10 at 32 pixels .01, of ACL's family in batches of 128. Every other method, RCS included, whose name its test "
    "misses, falls through to .1, batches of 128, 15 and 20: so it is not equal for every method, and neither is this. "
    "Zero-initialised head, encoder in eval on the adversarial batch norm, weight decay 2e-4, crops with zero padding "
    "of 4 pixels, flip, PGD-20 with step 2/255. Weights from a file have no method's name: say whose they are by "
    "[method=dynacl]. One mode per process, the last epoch scored. Theirs: AutoAttack in "
    "unseeded batches of 128. "
)

ROBUSTSSL = (
    Legacy(
        "slf@robustssl",
        replace(_ROBUSTSSL, cases=(*_ROBUSTSSL_CASES, Case(("air",), ("cifar10",), epochs=5))),
        _ROBUSTSSL_WHY + "AIR has 5 epochs on CIFAR-10, all others 25.",
    ),
    Legacy(
        "alf@robustssl",
        replace(
            _ROBUSTSSL,
            objective=Objective.ADVERSARIAL,
            cases=(
                *_ROBUSTSSL_CASES,
                Case(("air-pp",), rate_by_dataset={"cifar100": 0.1}),
                Case(("air", "air-pp"), ("stl10",), batch=128),
                Case(("air-pp",), ("cifar10",), epochs=4),
            ),
        ),
        _ROBUSTSSL_WHY + "On PGD-10 images; AIR and AIR++ on STL-10 in batches of 128, AIR++ on CIFAR-10 for 4 epochs.",
    ),
    Legacy(
        "aff@robustssl",
        replace(
            _AIR_AFF,
            cases=(
                Case(("acl",), epochs=100, milestones=(40, 60)),
                Case(("dynacl",), ("stl10",), milestones=(10, 20)),
            ),
        ),
        "RobustSSL's Vanilla_Finetuning (commit 19dc714): encoder and head by TRADES with beta 6, attack "
        "from .001 N(0, 1) away; clean images through the clean batch norm, adversarial ones through the one that is "
        "scored, or a single one where the method has no more; zero-initialised head, rate .1, batch 128, "
        "divided by 10 at epochs 15 and 20 of 25 (ACL: 40 and 60 of 100; DynACL on STL-10: 10 and 20), weight decay "
        "2e-4. With its option test_frequency the best epoch on test images is scored; here, the last.",
    ),
)

# RoCL: src/linear_eval.py at b6d5185.

_ROCL = HeadRecipe(
    rate_by_dataset=everywhere(0.1),
    init=HeadInit.DEFAULT,
    epochs=150,
    batch=1024,
    weight_decay=5e-4,
    milestones=(31, 51, 101),
)
_ROCL_ATTACK = InnerAttack(step_fraction=0.007 / 0.0314, start=Start.UNIFORM_CLIPPED)
_ROCL_ROBUST = replace(_ROCL, objective=Objective.ADVERSARIAL, inner=_ROCL_ATTACK)
_ROCL_AFF = replace(_ROCL_ROBUST, scope=Scope.ALL)
_ROCL_JOINT = replace(_ROCL_AFF, objective=Objective.JOINT, second_view=SecondView())
_ROCL_WHY = (
    "RoCL's src/linear_eval.py and total_process.sh (commit b6d5185): nn.Linear's default initialisation, batch 1024, "
    "rate .1 divided by 10 after epochs 30, 50 and 100 of 150, weight decay 5e-4, images as they are (--trans is not "
    "passed); PGD-20 with step eps/10 from a clipped start (src/robustness_test.py), judged at the data set's eps "
    "(theirs: .0314). AutoAttack is added: they have none. "
)
_ROCL_FROZEN = (
    "src/attack_lib.py:64 leaves the model in eval() and nothing sets it back, so that batch-norm statistics are "
    "frozen while weights move; "
)
_ROCL_PROJECTOR = (
    "Joint fine-tuning (--clean --adv_img --ss; RoCL+AT+SS): cross-entropy on images, augmented views and adversarial "
    "images together, plus NT-Xent of the former two at temperature .5. The projector that their NT-Xent goes through "
    "comes from pre-training, which here throws it away: a new one of the same shape is trained along. "
)
_TRAIN_MODE = "Here the encoder is in train() for the step on the weights, as looks intended. "

ROCL = (
    Legacy("slf@rocl", _ROCL, _ROCL_WHY + "Encoder in eval.", SHORT_STEP),
    Legacy(
        "alf@rocl",
        _ROCL_ROBUST,
        _ROCL_WHY + "Mode advtest: on PGD-10 images alone, step .007 at eps .0314; encoder in eval.",
        SHORT_STEP,
    ),
    Legacy(
        "aff@rocl",
        _ROCL_AFF,
        _ROCL_WHY + "Option --finetune --adv_img (RoCL+AT): all parameters, cross-entropy on PGD-10 images. "
        "As released: " + _ROCL_FROZEN + "aff@rocl-bn is the other reading.",
        SHORT_STEP,
    ),
    Legacy(
        "aff@rocl-bn",
        replace(_ROCL_AFF, encoder_mode=EncoderMode.TRAIN),
        _ROCL_WHY + "Option --finetune --adv_img (RoCL+AT): all parameters, cross-entropy on PGD-10 images. "
        + _TRAIN_MODE + "As released, " + _ROCL_FROZEN + "that is aff@rocl.",
        SHORT_STEP,
    ),
    Legacy(
        "joint@rocl",
        _ROCL_JOINT,
        _ROCL_WHY + _ROCL_PROJECTOR + "As released: " + _ROCL_FROZEN + "joint@rocl-bn is the other reading.",
        SHORT_STEP,
    ),
    Legacy(
        "joint@rocl-bn",
        replace(_ROCL_JOINT, encoder_mode=EncoderMode.TRAIN),
        _ROCL_WHY + _ROCL_PROJECTOR + _TRAIN_MODE + "As released, " + _ROCL_FROZEN + "that is joint@rocl.",
        SHORT_STEP,
    ),
)  # fmt: skip

# ACL: train_trades.py at 399eabd.

_ACL = HeadRecipe(
    rate_by_dataset={"cifar10": 0.1, "cifar100": 0.1, "digits": 0.1},
    batch=128,
    milestones=(14, 19),
    augmentation=Augmentation.ZERO_PAD_CROP_FLIP,
    spares_held_out=True,
)
_ACL_TRADES = replace(_ACL, objective=Objective.TRADES, inner=TRADES_ATTACK)
_ACL_WHY = (
    "ACL's train_trades.py (commit 399eabd): the adversarial batch norm alone, zero-initialised head, batch 128, rate "
    ".1, weight decay 2e-4, crops with zero padding of 4 pixels, flip; 45,000 of CIFAR's 50,000 training images, here "
    "all but the held-out tenth; PGD-20 with step 2/255. It scores the epoch that is best on the other 5,000 images, "
    "here the last one is; and its orders and crops, which repeat every epoch since utils.py:80 resets the seed, are "
    "drawn anew. AutoAttack is added: they have none. "
)
_ACL_LINEAR = "The scheduler steps before the epoch, so rates fall at epochs 14 and 19, from 0, of 25. "

ACL = (
    Legacy(
        "slf@acl",
        _ACL,
        _ACL_WHY + "Issue 20: --fixmode f3 --fixbn --trainmode normal: encoder frozen, in eval. " + _ACL_LINEAR,
    ),
    Legacy(
        "alf@acl",
        _ACL_TRADES,
        _ACL_WHY + "Issue 20: --fixmode f3 --fixbn: TRADES with beta 6 on the head alone, encoder in eval. "
        + _ACL_LINEAR,
    ),
    Legacy(
        "aff@acl",
        replace(
            fine_tuned(_ACL_TRADES),
            epochs=100,
            milestones=(39, 59),
            cases=(Case(datasets=("cifar100",), epochs=25, milestones=(14, 19)),),
        ),
        _ACL_WHY + "Encoder and head by TRADES with beta 6 in train(), clean and adversarial images in passes of their "
        "own. README: 100 epochs on CIFAR-10, rates falling at 1-based 40 and 60; 25 on CIFAR-100, at 15 and 20; the "
        "scheduler steps before the epoch, hence one epoch earlier.",
    ),
)  # fmt: skip

LEGACY: tuple[Legacy, ...] = (*NCP, *AMOC, *DEACL, *DYNACL, *AIR, *ROBUSTSSL, *ROCL, *ACL)
"""All of them, a family after the other."""
