"""The moving average of a key encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.models.routes import RoutedBatchNorm2d
from methods.parts.ema import ema_update

GOLDEN = Path(__file__).parents[1] / "golden"
PARTS = {"conv.": "conv.", "bn0.": "bn.clean.", "bn1.": "bn.adv.", "head.": "head."}


class StandIn(nn.Module):
    """The small network of the golden file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = RoutedBatchNorm2d(4, ("clean", "adv"))
        self.head = nn.Linear(256, 16)


def standin(arrays: Mapping[str, np.ndarray], prefix: str) -> StandIn:
    net = StandIn()
    stored = {
        ours + key.removeprefix(prefix + theirs): torch.from_numpy(arrays[key])
        for theirs, ours in PARTS.items()
        for key in arrays
        if key.startswith(prefix + theirs)
    }
    counters = {key: value for key, value in net.state_dict().items() if key.endswith("num_batches_tracked")}
    net.double().load_state_dict(stored | counters)
    return net


def test_parameters_move_and_running_statistics_stay() -> None:
    with np.load(GOLDEN / "amoc.npz") as arrays:
        query, key = standin(arrays, "standin/"), standin(arrays, "standin_key/")
        ema_update(key, query, 0.999)
        for theirs, ours in PARTS.items():
            for name, value in key.named_parameters():
                if name.startswith(ours):
                    expected = torch.from_numpy(arrays["ema/key_after/" + theirs + name.removeprefix(ours)])
                    torch.testing.assert_close(value.detach(), expected, rtol=1e-12, atol=1e-15)
        kept = key.get_buffer("bn.clean.running_mean")
        assert torch.equal(kept, torch.from_numpy(arrays["ema/key_bn0.running_mean_after"]))


def test_the_source_stays_and_no_gradient_is_recorded() -> None:
    source, target = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    before = source.weight.detach().clone()
    ema_update(target, source, 0.0)
    assert torch.equal(target.weight, before) and torch.equal(source.weight, before)
    assert target.weight.grad_fn is None and not target.weight.requires_grad
