"""Augmentation of whole batches on the device, with an own draw per image.

>>> views = Views(RandomResizedCrop(scale=(0.2, 1.0)), HorizontalFlip(), ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8))
>>> views(pixels_of(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)), torch.Generator().manual_seed(0)).shape
torch.Size([2, 3, 8, 8])

Per image, every operation equals torchvision's functional one on float tensors (antialiasing on) with the same
parameters, and the parameters follow torchvision's sampling laws. Shapes are static and nothing waits for the host,
so a training step that draws its views can be captured in a CUDA graph.
"""

from __future__ import annotations

from bench.data.views.blur import BlurDraw, GaussianBlur
from bench.data.views.colour import ColourJitter, Grayscale, JitterDraw
from bench.data.views.geometry import Boxes, HorizontalFlip, Offsets, PaddedCrop, PadMode, RandomResizedCrop
from bench.data.views.operation import Operation, Strength, Views, pixels_of
from bench.data.views.resampling import Interpolation

__all__ = [
    "BlurDraw",
    "Boxes",
    "ColourJitter",
    "GaussianBlur",
    "Grayscale",
    "HorizontalFlip",
    "Interpolation",
    "JitterDraw",
    "Offsets",
    "Operation",
    "PadMode",
    "PaddedCrop",
    "RandomResizedCrop",
    "Strength",
    "Views",
    "pixels_of",
]
