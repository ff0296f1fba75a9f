"""What a protocol says that it changes of an encoder is no finding; the same change under another protocol is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from bench.attacks.evaluate import AttackContext
from bench.data.profiles import profile_of
from bench.data.sources import DataSet
from bench.gates.table import verdicts
from bench.gates.verdicts import Verdict
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.resnet import Architecture
from bench.protocols.heads import FittedHead
from bench.protocols.recipes import PROTOCOLS
from bench.randomness import Randomness
from bench.stages.audit import Scored, subject_of


def moved(encoder: ResNetEncoder, *, weights: bool) -> Mapping[str, Tensor]:
    """All buffers of floating point, or all weights, a little larger."""
    named = encoder.named_parameters() if weights else encoder.named_buffers()
    return {name: 1.01 * value.detach() + 0.01 for name, value in named if value.is_floating_point()}


@pytest.mark.parametrize(
    ("protocol", "weights", "verdict"),
    [
        ("slf-1", False, Verdict.FAIL),
        ("slf-1", True, Verdict.FAIL),
        ("slf@ncp-bn", False, Verdict.OK),
        ("slf@ncp-bn", True, Verdict.FAIL),
        ("aff-1", False, Verdict.OK),
        ("aff-1", True, Verdict.OK),
    ],
)
def test_moved_tensors(protocol: str, weights: bool, verdict: Verdict, digits: DataSet) -> None:
    with Randomness(0, "pretrain").as_global("initialisation"):
        encoder = resnet_encoder(Architecture.SMALL, profile_of("digits")).eval()
    stored = {name: value.clone() for name, value in encoder.state_dict().items()}
    head = FittedHead(
        torch.zeros(10, encoder.feature_dim), torch.zeros(10), None, encoder_state=moved(encoder, weights=weights)
    )
    context = AttackContext(Randomness(0, "attack"), torch.device("cpu"), lambda *_: None)
    scored = Scored(encoder, head, stored, PROTOCOLS[protocol], {})
    (result,) = verdicts(subject_of(scored, digits.test, 0.1, context), ["R4"])
    assert result.verdict is verdict, result
