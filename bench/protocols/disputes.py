"""Where the literature's evaluations disagree, by how much, and which command decides it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.errors import unknown


class Settled(StrEnum):
    """How much of a dispute this benchmark can settle."""

    YES = "yes"
    IN_PART = "in part"
    NO = "no"


@dataclass(frozen=True)
class Dispute:
    """A disagreement of published numbers or of the code behind them.

    Attributes:
        id: `D1`, ..., ordered by the effect on published numbers.
        title: in a few words.
        disagreement: who does what.
        effect: on published numbers, in points of accuracy on CIFAR-10 unless said otherwise.
        source: where the numbers stand.
        command: what settles it; None where nothing here can.
        shows: what to look for in its table; where there is no command, why not.
        remains: what the command leaves open.
    """

    id: str
    title: str
    disagreement: str
    effect: str
    source: str
    command: str | None
    shows: str
    remains: str = ""

    @property
    def settled(self) -> Settled:
        """How much of it the command settles."""
        if self.command is None:
            return Settled.NO
        return Settled.IN_PART if self.remains else Settled.YES


_ALL = (
    Dispute(
        "D1",
        "learning rate of the linear head",
        "DynACL's test_LF.py takes .01 on every data set, its LPAFT.py and RobustSSL .05 on CIFAR-100, .1 on STL-10, "
        "NCP-ACL 10 on both, 100 to 200 times as much; RobustSSL gives AdvCL, A-InfoNCE and DeACL .01 everywhere.",
        "DynACL's released weights: CIFAR-100 36.64 SA, 18.66 AA at .01, 45.83, 19.30 at .05; STL-10 61.79, 44.79 at "
        ".01, 69.56, 46.61 at .1: 9 and 8 points of SA, .6 and 1.8 of AA, from the head alone.",
        "PKU-ML/DYNACL issue 1; RobustSSL README at 8ec7fc4",
        "bench run --methods dynacl --datasets cifar100 --schedule paper --seeds 5 "
        "--protocols slf@dynacl,slf@robustssl,slf@ncp,slf-1",
        "One encoder per seed under .01, .05, 10 and the rate that the held-out slice chooses: slf@dynacl and "
        "slf@robustssl differ in the rate alone, so their difference is the rate's; slf-1 is what the best rate gives.",
    ),
    Dispute(
        "D2",
        "DeACL's stem",
        "DeACL pre-trains with a 3x3 stem of padding 2. Its evaluation before March 2023, and RobustSSL's today, build "
        "one of padding 1, into which the weights load without complaint.",
        "AA 43.13 and 43.27 with padding 1; 45.57 and 46.14 with padding 2; the paper has 45.31: 3 points for one set "
        "of weights.",
        "DeACL issue 1 and README of 2023-03-02; RobustSSL Vanilla_Finetuning/models/resnet.py",
        "bench run --methods "
        '"checkpoint[path=deacl.pkl,layout=deacl,architecture=[resnet18-padding1,resnet18-padding2]]" '
        "--datasets cifar10 --schedule paper --seeds 1 --protocols slf@deacl-2023",
        "deacl.pkl is the authors' file: the same weights under either stem, so that the difference is the padding's. "
        "The method deacl is trained and judged with padding 2.",
    ),
    Dispute(
        "D3",
        "recipe of adversarial full fine-tuning",
        "DeACL fine-tunes at rate .01 in batches of 512 with a default head, RobustSSL at .1 in batches of 128 with a "
        "head of zeros, and with the wrong stem (D2).",
        "DeACL's AFF: AA 50.75 +- .15 and SA 83.64 by its own code, 44.96 and 78.29 in RobustSSL, AA 45.44 in issue 1: "
        "5.8 points.",
        "DeACL README at 3fb81e3; RobustSSL README at 8ec7fc4; DeACL issue 1",
        "bench run --methods deacl --datasets cifar10 --schedule paper --seeds 5 "
        "--protocols aff@deacl-2024,aff@robustssl,aff-1",
        "The same encoders, with the right stem, under both recipes. What is left of the 5.8 points is the recipe's, "
        "the rest the stem's. aff-1 is RobustSSL's recipe on one batch norm, which is all that DeACL has.",
    ),
    Dispute(
        "D4",
        "batch norm of the frozen encoder",
        "DeACL's evaluation of 2024 trains the head with the encoder in train(): batch statistics, and running ones "
        "that drift to clean images. It raised the rate from .01 to .1 at the same time. NCP-ACL has the same settings "
        "and does not say the mode.",
        "One checkpoint, before and after: SA 79.53 to 80.82, RA 55.43 to 53.45, AA 45.57 to 46.14; the two changes "
        "cannot be told apart from the README.",
        "DeACL README at 3fb81e3, adv_finetune.py:391; dc0807e adv_slf.py:110,219",
        "bench run --methods deacl --datasets cifar10 --schedule paper --seeds 5 "
        "--protocols slf@deacl-2023,slf@ncp,slf@deacl-2024,slf-1",
        "slf@deacl-2023 is eval at .01, slf@ncp eval at .1, slf@deacl-2024 train() at .1, on the same encoders: the "
        "first difference is the rate's, the second the mode's. It runs on digits, too, in minutes.",
    ),
    Dispute(
        "D5",
        "PGD-20 in the place of AutoAttack",
        "Papers rank methods by PGD-20, which finds fewer adversarial images than AutoAttack, by a gap that depends on "
        "the method.",
        "RA minus AA: AdvCL 7.9, DeACL 8.6, DynACL 2.9, DynACL++ 2.3, AIR++ 1.9, NCP-ACL 4.8; RA and AA order 7 of 15 "
        "pairs of methods oppositely (Kendall's tau .07; CIFAR-100 .60). AMOC: 43.46 by PGD-20, 34.61 by AutoAttack.",
        "NCP-ACL, table 2; AMOC, table 5",
        "bench run --methods deacl,dynacl,dynacl-pp,air-pp,ncp,amoc --datasets cifar10 --schedule paper --seeds 5",
        "Both columns for every method under one head protocol: rank by `aa`; where `ra_pgd20` orders a pair the other "
        "way round, a claim that rests on PGD-20 does not hold.",
    ),
    Dispute(
        "D6",
        "what adversarial linear fine-tuning minimises",
        "Cross-entropy on PGD-10 images (RobustSSL, DynACL, AIR), TRADES (DeACL, AMOC's last README), or not said "
        "(NCP-ACL).",
        "ALF minus SLF, AA of DeACL: +.78 in NCP-ACL, whose SLF half is quoted, -.59 in DeACL (TRADES), -1.28 in "
        "RobustSSL (cross-entropy), -.43 in issue 1: the sign flips.",
        "NCP-ACL; DeACL README at 3fb81e3; RobustSSL README at 8ec7fc4; DeACL issue 1",
        "bench run --methods deacl --datasets cifar10 --schedule paper --seeds 5 "
        "--protocols slf-1,alf-1,slf@ncp,alf@ncp,slf@deacl-2024,alf@deacl-2024",
        "Three pairs of SLF and ALF on the same encoders, cross-entropy twice and TRADES: the sign of each pair's "
        "difference, with a test paired by seed. DeACL changes the rate between its two (.1, .01), the others do not.",
    ),
    Dispute(
        "D7",
        "selection on test images",
        "AdvCL keeps the best of all epochs on test images; AMOC's linear_adv.py and RobustSSL's test_frequency can; "
        "AIR trains CIFAR-10 heads for 5 (AIR++: 4) epochs where all others have 25, with no validation named.",
        "Not known: no source gives the last epoch beside the best one.",
        "AdvCL finetuning_advCL_SLF.py:310-345; AMOC linear_adv.py:193-196; AIR finetuning_utils.py:740-905",
        "bench run --methods air --datasets cifar10 --schedule paper --seeds 5 --protocols slf@air,slf@dynacl,slf-1",
        "AIR's part of it: on CIFAR-10 slf@air and slf@dynacl differ in 5 against 25 epochs alone.",
        remains="what the best epoch on test images adds: nothing here keeps one, for test images are sealed",
    ),
    Dispute(
        "D8",
        "rows marked ++",
        "DynACL++ and AIR++ add 10 + 25 epochs of adversarial fine-tuning on pseudo-labels; LPAFT.py calls two of "
        "AutoAttack's four attacks AutoAttack. AdvCL and A-InfoNCE take pseudo-labels from an ImageNet network.",
        "Not known for AutoAttack: two attacks can only leave more images right than four. ++ against its own method "
        "is post-processing, not pre-training.",
        "DYNACL LPAFT.py:524 at 7d143db",
        "bench run --methods dynacl,dynacl-pp,air,air-pp --datasets cifar10 --schedule paper --seeds 5 "
        "--protocols slf@dynacl-pp,slf-1",
        "The score `apgd-ce+apgd-t` beside `aa` of the same classifiers is what the two missing attacks take; a ++ row "
        "beside its own method's what the post-processing gives. Compare ++ with ++ alone.",
    ),
    Dispute(
        "D9",
        "the record contradicts itself",
        "RobustSSL's README and its leaderboard: 27 of 211 cells that both have differ, by swapped rows, numbers of "
        "a neighbouring row, and differences of .1 to 5 points; README revisions differ, too.",
        "STL-10 ACL SLF 32.45 AA, 74.72 SA against 35.80, 67.90; CIFAR-10 to STL-10 ALF has ACL and A-InfoNCE swapped; "
        "A-InfoNCE on CIFAR-100 AFF is 1.00 lower in all columns; DeACL AFF 45.21 AA became 44.96.",
        "RobustSSL README at 8ec7fc4; robustssl.github.io",
        None,
        "These are errors of copying. A new measurement says which of two numbers is nearer, not which was meant; the "
        "README's means recompute from its cells, so it looks like the coherent copy.",
    ),
    Dispute(
        "D10",
        "contradictions inside the papers",
        "NCP-ACL proposes the neighbour n = 2, and its table 5 has n = 3 better in RA and AA on all three data sets; "
        "lambda is 6 where the DeACL scripts that it follows have 2. AMOC's tables disagree about one model.",
        "AMOC, PGD-20 of the model of 256 images and 200 epochs: 43.36 in tables 3 and 8, 43.46 in table 5. NCP-ACL's "
        "baselines AdvCL and DeACL are copied from other papers, with other heads and seeds.",
        "NCP-ACL, table 5 and appendix A.2.2; AMOC, tables 3, 5 and 8",
        'bench run --methods "ncp[neighbour=[2,3],trade_off=[2.0,6.0]]" --datasets cifar10 --schedule paper --seeds 10',
        "n = 2 against n = 3, and lambda 2 against 6, paired by seed: 10 seeds find a difference of about one standard "
        "deviation of the differences with 80 % power.",
        remains="which of AMOC's two numbers was meant",
    ),
    Dispute(
        "D11",
        "budget of pre-training",
        "AMOC trains 200 epochs in batches of 256, ACL and DynACL 1,000 in batches of 512, NCP-ACL 1,000 clean and 200 "
        "adversarial ones, DeACL 100 on a borrowed teacher; attacks have 5, 7 or 10 steps. Nobody matches compute.",
        "Not known: every published comparison mixes method and budget.",
        "each paper's own settings; bench list methods NAME gives them with their places",
        "bench run --methods amoc,acl,dynacl,deacl,ncp --datasets cifar10 --schedule paper --budget 10000 --seeds 5",
        "All methods with the same number of encoder passes per image, teachers included, under slf-1 and alf-1. "
        "Beside the papers' own lengths it tells what is the method's and what the budget's.",
    ),
    Dispute(
        "D12",
        "stem and size on STL-10",
        "96x96 with a 7x7 stem where STL-10 is its own task, 32x32 with CIFAR's stem where an encoder is transferred; "
        "RCS trains CIFAR's stem on STL-10, and NCP-ACL does not state its stem.",
        "Not known: no source gives both stems.",
        "RobustSSL Vanilla_Finetuning; RCS models; NCP-ACL 4.1",
        'bench run --methods "dynacl[architecture=[resnet18-padding1,resnet18-imagenet]]" --datasets stl10 '
        "--schedule paper --seeds 5",
        "One method under both stems at 96x96: the difference is the stem's (and its cost). For the size, add "
        '--datasets "stl10[from=cifar10]": the same task at 32x32, by encoders that were trained on CIFAR-10.',
    ),
)

DISPUTES: Mapping[str, Dispute] = {dispute.id: dispute for dispute in _ALL}
"""All of them by id, the largest effect first."""


def dispute_of(name: str) -> Dispute:
    """The dispute called `name`, in either case.

    Raises:
        BenchError: if there is none; the message lists the choices.
    """
    if name.upper() not in DISPUTES:
        raise unknown("dispute", name, DISPUTES)
    return DISPUTES[name.upper()]
