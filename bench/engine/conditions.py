"""Under which conditions torch computes: device, precision, deterministic mode, threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum

import torch

from bench.engine.determinism import deterministic_kernels


class Precision(StrEnum):
    """What convolutions and matrix products compute in."""

    FP32 = "fp32"
    TF32 = "tf32"
    """fp32 whose factors are rounded to 10 bits on a GPU; the same as fp32 on a CPU."""
    BF16 = "bf16"
    """Autocast to bfloat16; parameters, losses and views stay fp32."""


@dataclass(frozen=True)
class Conditions:
    """Where and how.

    Attributes:
        device: `cpu`, `cuda` or `cuda:1`.
        precision: of convolutions and matrix products.
        deterministic: whether torch's deterministic mode is on.
        threads: of the CPU.
    """

    device: str = "cpu"
    precision: Precision = Precision.FP32
    deterministic: bool = True
    threads: int = 1

    @property
    def dtype(self) -> torch.dtype:
        """Of a matrix product under these conditions."""
        return torch.bfloat16 if self.precision is Precision.BF16 else torch.float32

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Inside, they hold; afterwards all is as it was.

        By default cuDNN rounds the inputs of fp32 convolutions to TF32, which is not the precision that rows state.
        """
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        threads = torch.get_num_threads()
        tf32 = matmul.allow_tf32, cudnn.allow_tf32
        try:
            torch.set_num_threads(self.threads)
            matmul.allow_tf32 = cudnn.allow_tf32 = self.precision is Precision.TF32
            # Without a cache of casted weights: it would outlive the optimiser's update, and freezing for an attack.
            mixed = self.precision is Precision.BF16
            kind = torch.device(self.device).type
            if kind == "cuda" and self.deterministic:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
            autocast = torch.autocast(kind, torch.bfloat16, enabled=mixed, cache_enabled=False)
            # What a method calls plain `cuda` is this device then, not the first one.
            own_device = torch.cuda.device(self.device) if kind == "cuda" else nullcontext()
            with deterministic_kernels(self.deterministic), autocast, own_device:
                yield
        finally:
            torch.set_num_threads(threads)
            matmul.allow_tf32, cudnn.allow_tf32 = tf32
