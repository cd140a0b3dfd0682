"""Device, compute dtype, threads and ranks. All other code asks this module for them."""

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from pathlib import Path

import torch
import torch.distributed as dist

from malmoi.errors import ConfigError

CGROUPS = Path("/sys/fs/cgroup")
MAX_THREADS = 1024
"""More is a typing mistake."""
WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of oneDNN's limit that exclude AVX512-BF16 and AMX; upper and lower case are the same to it."""


@dataclass(frozen=True)
class Device:
    """Where this process computes.

    torch_device: cpu, or cuda:local_rank
    compute_dtype: the dtype of matrix products under `autocast`; trained weights stay float32
    rank, n_ranks: the index of this process, and the number of processes that train together
    """

    torch_device: torch.device
    compute_dtype: torch.dtype
    n_threads: int
    rank: int
    n_ranks: int

    @property
    def world_size(self) -> int:
        """How many processes share the current work: 1 within `single_rank`."""
        return 1 if _is_single_rank else self.n_ranks

    @property
    def is_main(self) -> bool:
        return self.rank == 0


_is_single_rank = False


@contextlib.contextmanager
def single_rank(yes: bool = True) -> Iterator[None]:
    """Within this context, this rank works without the others and never waits for them. yes=False: together again."""
    global _is_single_rank
    before, _is_single_rank = _is_single_rank, yes
    try:
        yield
    finally:
        _is_single_rank = before


@functools.cache
def current() -> Device:
    """The device, found once per process. Sets the number of threads and joins the other ranks under `torchrun`.

    Raises ConfigError for an environment variable that cannot be used; docs/reference/environment.md lists them.
    """
    rank, world_size = _number("RANK", 0, least=0), _number("WORLD_SIZE", 1)
    local_rank, local_world = _number("LOCAL_RANK", 0, least=0), _number("LOCAL_WORLD_SIZE", 1)
    on_gpu = _uses_gpu()
    torch_device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    n_threads, compute_dtype = _n_threads(local_world), _compute_dtype(torch_device)
    torch.set_num_threads(n_threads)
    if on_gpu:
        torch.cuda.set_device(local_rank)
    if world_size > 1 and not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(minutes=10))
        except ValueError as error:
            raise ConfigError(f"WORLD_SIZE={world_size}: {error}; start several ranks with torchrun") from None
    return Device(torch_device, compute_dtype, n_threads, rank, world_size)


def _named(name: str, choices: tuple[str, ...]) -> str:
    """The value of an environment variable that must be one of these; "" if it is not set."""
    value = os.environ.get(name, "").strip()
    if value and value not in choices:
        raise ConfigError(f"{name}={value}: expected {' or '.join(choices)}, or nothing")
    return value


def _number(name: str, default: int, least: int = 1, most: int = 2**20) -> int:
    """The value of an environment variable that must be a whole number."""
    value = os.environ.get(name, "").strip()
    return _whole(name, value, least, most) if value else default


def _whole(name: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdecimal() and least <= int(value[:9]) <= most):
        raise ConfigError(f"{name}={value}: expected a whole number from {least} to {most:,}, or nothing")
    return int(value)


def _n_threads(local_world: int) -> int:
    """MALMOI_THREADS, else OMP_NUM_THREADS, else the cores divided by the ranks on this machine."""
    if wanted := _number("MALMOI_THREADS", 0, most=MAX_THREADS):
        return wanted
    # OpenMP accepts a list, one number for each level of nesting; we use the first.
    of_openmp = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    # torchrun sets 1 if the user did not choose, which would leave most cores idle.
    if of_openmp and not (local_world > 1 and of_openmp == "1"):
        return _whole("OMP_NUM_THREADS", of_openmp, 1, MAX_THREADS)
    return max(1, n_cores() // local_world)


def _uses_gpu() -> bool:
    wanted = _named("MALMOI_DEVICE", ("cpu", "cuda"))
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("MALMOI_DEVICE=cuda: PyTorch finds no CUDA GPU here; leave it out to compute on the CPU")
    return wanted != "cpu" and torch.cuda.is_available()


def keep_freed_memory() -> None:
    """Keep freed memory in the process, for work in equal steps. Otherwise glibc returns large blocks to the kernel,
    and faulting their pages back in takes a fifth of a small step.

    It disables mmap for large blocks, and trimming; `release_memory` returns free memory.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
        libc.mallopt(m_top_pad, 64 * 2**20)


def release_memory() -> None:
    """Return free memory to the system: between stages, which need different amounts."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def n_cores() -> int:
    """Cores that this process may use, limited by its affinity mask and its container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [ceil(share) for share in map(_cpu_share, cgroup_folders("cpu")) if share]
    return max(1, min([cores, *shares]))


def cgroup_folders(controller: str, proc: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> list[Path]:
    """The cgroup folders that limit this process, innermost first: of version 2, or of version 1's controller."""
    try:
        lines = [line.split(":", 2) for line in proc.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return []
    folders: list[Path] = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        # Inside a container the path is the host's, and only the root exists.
        below = base / path.strip("/")
        while below != base:
            folders.append(below)
            below = below.parent
        folders.append(base)
    return [folder for folder in folders if folder.is_dir()]


def _cpu_share(folder: Path) -> float | None:
    """Cores that a cgroup may use on average; None if it has no limit."""
    try:
        if (limit := folder / "cpu.max").exists():
            quota, period = limit.read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such limit
        return None


def _compute_dtype(torch_device: torch.device) -> torch.dtype:
    if wanted := _named("MALMOI_DTYPE", ("bfloat16", "float32")):
        return {"bfloat16": torch.bfloat16, "float32": torch.float32}[wanted]
    if torch_device.type == "cuda":
        # Older GPUs emulate bfloat16, slower than they compute float32.
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else torch.float32
    return torch.bfloat16 if cpu_multiplies_bf16() else torch.float32


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU has bfloat16 products (AVX512-BF16, AMX), which are several times faster than float32. Emulated
    ones are slower; so are those of a PyTorch that may use no AVX-512 (`ATEN_CPU_CAPABILITY`), or whose oneDNN may not
    use them (`ONEDNN_MAX_CPU_ISA`)."""
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):
        return False
    most = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if most.upper() in WITHOUT_BF16:
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
        text = file.read()
        return "avx512_bf16" in text or "amx_bf16" in text
    return False


@contextlib.contextmanager
def autocast(dtype: torch.dtype | None = None) -> Iterator[None]:
    """Matrix products in the compute dtype (or `dtype`), numerically sensitive operations in float32."""
    device = current()
    dtype = dtype or device.compute_dtype
    with torch.autocast(device.torch_device.type, dtype, enabled=dtype != torch.float32):
        yield


def seed_draws(seed: int) -> None:
    """Seed the random numbers of the CPU and of the device in use. `torch.manual_seed` looks for every kind of device,
    which takes as long as a small step.
    """
    torch.default_generator.manual_seed(seed)
    if current().torch_device.type == "cuda":
        torch.cuda.manual_seed(seed)


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all ranks, in place."""
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
    """Whether the value is true on any rank. Ranks that act together must decide together."""
    if current().world_size == 1:
        return value
    return bool(sum_over_ranks(torch.tensor(float(value), device=current().torch_device)) > 0)


def barrier() -> None:
    """Wait for the other ranks."""
    if current().world_size > 1:
        dist.barrier()


def memory_bytes() -> tuple[int, int]:
    """Free and total bytes of the GPU in use, or of main memory within the container's limit."""
    if current().torch_device.type == "cuda":
        return torch.cuda.mem_get_info()
    total = free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if (meminfo := Path("/proc/meminfo")).exists():
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(rows["MemAvailable"].split()[0]) * 1024
    for limit, used in filter(None, map(_memory_limit, cgroup_folders("memory"))):
        total, free = min(total, limit), max(0, min(free, limit - used))
    return free, total


def _memory_limit(folder: Path) -> tuple[int, int] | None:
    """The limit of a cgroup and its use, in bytes; None if it has no limit. File cache does not count as used."""
    names = ("memory.max", "memory.current", "inactive_file")
    if not (folder / names[0]).exists():
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    try:
        limit, used = (int((folder / name).read_text()) for name in names[:2])
        held = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return limit, used - int(held.get(names[2], 0))
    except (OSError, ValueError):  # "max", or no such limit
        return None


def peak_memory_bytes() -> int:
    """The peak memory of this process in bytes: on the GPU if one is in use, else resident."""
    if current().torch_device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
