"""How a stage computes: in which precision, and by which way its steps are carried out. Imports nothing."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """What convolutions and matrix products compute in."""

    FP32 = "fp32"
    TF32 = "tf32"
    """fp32 whose factors are rounded to 10 bits on a GPU; the same as fp32 on a CPU."""
    BF16 = "bf16"
    """Autocast to bfloat16; parameters, features, losses, views, averages and optimiser stay fp32."""


class Execution(StrEnum):
    """How the steps of a pre-training are carried out. Numbers agree but for rounding."""

    AUTO = "auto"
    """`graph` on a GPU, `eager` on a CPU."""
    EAGER = "eager"
    """Operation by operation."""
    GRAPH = "graph"
    """The whole step is captured in one CUDA graph per batch size and replayed."""
    COMPILED = "compiled"
    """The encoder goes through torch.compile; on a GPU the step is captured, too."""
