"""Views in the frequency domain."""

from __future__ import annotations

import torch
from torch import Tensor


def high_frequency(x: Tensor, radius: float) -> Tensor:
    """`x` without its low frequencies: AdvCL's x_HFC (fr_util.py:99-127).

    Args:
        x: [B, 3, H, W].
        radius: frequencies nearer to the constant than this are removed, in cycles per image side.

    Returns:
        [B, 3, H, W], not clamped: about 0 where the image is smooth, also negative.
    """
    rows, columns = (torch.fft.fftfreq(side, d=1 / side, device=x.device) for side in x.shape[-2:])
    kept = rows.square()[:, None] + columns.square() >= radius**2
    high: Tensor = torch.fft.ifft2(torch.fft.fft2(x) * kept).real
    return high
