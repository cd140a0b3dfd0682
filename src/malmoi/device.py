"""Device, number format, threads and ranks: asked here and nowhere else."""

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Device:
    """Where this process computes.

    torch_device: cpu, or cuda:local_rank
    compute_dtype: what matrix products run in under `autocast`; weights that learn stay float32
    rank, world_size: this process among those that train together
    """

    torch_device: torch.device
    compute_dtype: torch.dtype
    n_threads: int
    rank: int
    world_size: int

    @property
    def is_main(self) -> bool:
        return self.rank == 0


@functools.cache
def current() -> Device:
    """Ask the machine once: set the threads, join the other ranks when `torchrun` started us."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local_rank, local_world = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    on_gpu = torch.cuda.is_available() and os.environ.get("MALMOI_DEVICE", "") != "cpu"
    n_threads = int(os.environ.get("MALMOI_THREADS", 0)) or max(1, n_cores() // local_world)
    torch.set_num_threads(n_threads)
    _keep_freed_memory()
    if on_gpu:
        torch.cuda.set_device(local_rank)
    if world_size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(minutes=10))
    torch_device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    return Device(torch_device, _compute_dtype(torch_device), n_threads, rank, world_size)


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory: what it hands back comes again page by page, a fifth of a small step.

    No block gets a mapping of its own, as large ones do else; `release_memory` hands back what was left in between.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
        libc.mallopt(m_top_pad, 64 * 2**20)


def release_memory() -> None:
    """Hand memory that is not in use back to the system: between stages, whose sizes differ."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def n_cores() -> int:
    """Cores this process may use (an affinity mask counts; hyper-threads do not help matrix products)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compute_dtype(torch_device: torch.device) -> torch.dtype:
    wanted = os.environ.get("MALMOI_DTYPE", "")
    if wanted:
        return {"bfloat16": torch.bfloat16, "float32": torch.float32}[wanted]
    if torch_device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if _cpu_multiplies_bf16() else torch.float32


def _cpu_multiplies_bf16() -> bool:
    """Emulated bfloat16 is slower than float32; AVX512-BF16 and AMX are several times faster."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
        text = file.read()
        return "avx512_bf16" in text or "amx_bf16" in text
    return False


@contextlib.contextmanager
def autocast(dtype: torch.dtype | None = None) -> Iterator[None]:
    """Matrix products in the compute dtype, or another, everything delicate in float32."""
    device = current()
    dtype = dtype or device.compute_dtype
    with torch.autocast(device.torch_device.type, dtype, enabled=dtype != torch.float32):
        yield


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all ranks, in place; the tensor itself when there is one rank."""
    if current().world_size > 1:
        dist.all_reduce(value)
    return value


def union_over_ranks(names: Iterable[str]) -> list[str]:
    """The names that any rank has, sorted."""
    gathered = [list(names)] * current().world_size
    if current().world_size > 1:
        dist.all_gather_object(gathered, gathered[0])
    return sorted(set().union(*gathered))


def any_rank(value: bool) -> bool:
    """Whether any rank says yes: what ranks do together they must decide together."""
    if current().world_size == 1:
        return value
    return bool(sum_over_ranks(torch.tensor(float(value), device=current().torch_device)) > 0)


def barrier() -> None:
    """Wait for the other ranks."""
    if current().world_size > 1:
        dist.barrier()


def peak_memory_bytes() -> int:
    """The most memory this process has held: of the GPU when it computes there, else resident."""
    if current().torch_device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
