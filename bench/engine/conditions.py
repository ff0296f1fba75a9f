"""Under which conditions torch computes: device, precision, deterministic mode, threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from bench.engine.determinism import deterministic_kernels
from bench.errors import BenchError
from bench.execution import Execution, Precision
from bench.models.precision import mixed_precision


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
            kind = torch.device(self.device).type
            if kind == "cuda":
                # Read when cuBLAS is first used, whether in deterministic mode or before it.
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            # What a method calls plain `cuda` is this device then, not the first one.
            own_device = torch.cuda.device(self.device) if kind == "cuda" else nullcontext()
            mixed = mixed_precision(self.precision is Precision.BF16)
            with deterministic_kernels(self.deterministic), mixed, own_device:
                yield
        finally:
            torch.set_num_threads(threads)
            matmul.allow_tf32, cudnn.allow_tf32 = tf32


def resolved(execution: Execution, device: str) -> Execution:
    """What `auto` means on `device`, and anything else checked.

    Raises:
        BenchError: for a graph without a GPU.
    """
    on_gpu = torch.device(device).type == "cuda"
    if execution is Execution.AUTO:
        return Execution.GRAPH if on_gpu else Execution.EAGER
    if execution is Execution.GRAPH and not on_gpu:
        raise BenchError(
            "a step can be captured in a graph on a CUDA device alone, and this is the CPU: use --execution auto, "
            "eager or compiled."
        )
    return execution
