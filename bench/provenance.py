"""Where numbers come from: the commit, the machine, the versions. Imports torch only where it is asked about."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.execution import Execution
from bench.keys import PROJECT

MEMORY_FORMAT = "channels_last"
"""Of every encoder, on every device."""
DIRTY = "+dirty"
"""Follows a commit from which files of the source tree differ."""


@dataclass(frozen=True)
class Context:
    """What may move the last bits of a number without being part of its recipe: recorded and compared, never addressed.

    Attributes:
        torch: its version.
        cuda: version of CUDA, of cuDNN and of the driver; None on the CPU.
        device: model of the CPU or GPU.
        python: its version.
        platform: operating system and architecture.
        threads: CPU threads of this process.
        memory_format: of the encoder.
        deterministic: whether torch's deterministic mode is on.
        execution: how steps are carried out: `eager`, `graph` or `compiled`.
    """

    torch: str
    cuda: str | None
    device: str
    python: str
    platform: str
    threads: int
    memory_format: str
    deterministic: bool
    execution: str = Execution.EAGER


def context(device: str, execution: Execution = Execution.EAGER) -> Context:
    """The context of this process, computing on `device` (`cpu`, `cuda`, `cuda:1`) by a resolved `execution`."""
    import torch

    on_gpu = device.startswith("cuda")
    return Context(
        torch=str(torch.__version__),
        cuda=_cuda_versions() if on_gpu else None,
        device=torch.cuda.get_device_name(device) if on_gpu else cpu_model(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        threads=torch.get_num_threads(),
        memory_format=MEMORY_FORMAT,
        deterministic=torch.are_deterministic_algorithms_enabled(),
        execution=str(execution),
    )


def where(moved: Collection[str]) -> str:
    """For people: in the same context, or in another one and in what it moved."""
    return f"in another context ({'; '.join(moved)})" if moved else "in the same context"


def _cuda_versions() -> str:
    import torch

    parts = [str(torch.version.cuda), f"cuDNN {torch.backends.cudnn.version()}"]  # type: ignore[no-untyped-call]
    driver = gpu_driver()
    return ", ".join(parts + ([f"driver {driver}"] if driver else []))


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """The CPU's model name, or its architecture where the system does not tell."""
    match = re.search(r"^model name\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def gpu_driver() -> str | None:
    """The version of NVIDIA's kernel driver, or None where there is none."""
    match = re.search(r"\s(\d+(?:\.\d+)+)\s", _text(Path("/proc/driver/nvidia/version")))
    return match[1] if match else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@lru_cache(maxsize=1)
def commit(root: Path = PROJECT) -> str | None:
    """The git commit of the source tree at `root`, `+dirty` where files differ from it; None outside a clone."""
    if not (root / ".git").exists():
        return None  # Installed: a repository further up would be somebody else's.
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return None
    return head + (DIRTY if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
