"""Device, number format and threads, as the environment and a container ask for them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import malmoi
from malmoi import device
from malmoi.errors import ConfigError

NAMES = ("MALMOI_THREADS", "MALMOI_DEVICE", "MALMOI_DTYPE", "OMP_NUM_THREADS", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


@pytest.fixture(autouse=True)
def asked_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing set, and the machine is asked again: by the test, and after it."""
    n_threads = torch.get_num_threads()
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    device.current.cache_clear()
    yield
    device.current.cache_clear()
    torch.set_num_threads(n_threads)


def put(monkeypatch: pytest.MonkeyPatch, **values: str) -> device.Device:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return device.current()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("MALMOI_THREADS", value) for value in ("two", "0", "-1", "9999", "1.5", "²", "1" * 40, "2 2", "\udcff")),
        *(("OMP_NUM_THREADS", value) for value in ("two", "0", "-1", "99999999999")),
        *(("MALMOI_DEVICE", value) for value in ("gpu", "CPU", "mps", "cuda:1")),
        *(("MALMOI_DTYPE", value) for value in ("fp16", "float16", "bf16", "torch.float32")),
        *((name, "x") for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")),
        ("WORLD_SIZE", "0"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}=.*: expected ") as refused:
        put(monkeypatch, **{name: value})
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="MALMOI_DEVICE=cuda: PyTorch finds no CUDA GPU"):
        put(monkeypatch, MALMOI_DEVICE="cuda")


def test_ranks_that_torchrun_did_not_start_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"WORLD_SIZE=2: .*start several ranks with torchrun"):
        put(monkeypatch, WORLD_SIZE="2", MALMOI_DEVICE="cpu")


@pytest.mark.parametrize(
    ("environment", "n_threads"),
    [
        ({"MALMOI_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "3,1"}, 3),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"MALMOI_THREADS": "", "OMP_NUM_THREADS": " "}, None),
        ({"OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "1"}, 1),
    ],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], n_threads: int | None) -> None:
    found = put(monkeypatch, **environment)
    assert found.n_threads == torch.get_num_threads() == (n_threads or device.n_cores())


def test_what_torchrun_sets_for_everybody_is_nobodys_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(device.cgroup_folders, "__defaults__", (Path("nowhere"), Path("nowhere")))
    assert put(monkeypatch, OMP_NUM_THREADS="1", LOCAL_WORLD_SIZE="2").n_threads == 4
    device.current.cache_clear()
    assert put(monkeypatch, OMP_NUM_THREADS="3", LOCAL_WORLD_SIZE="2").n_threads == 3


def test_number_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    assert put(monkeypatch, MALMOI_DEVICE="cpu", MALMOI_DTYPE="bfloat16").compute_dtype == torch.bfloat16
    device.current.cache_clear()
    assert put(monkeypatch, MALMOI_DTYPE="float32").compute_dtype == torch.float32


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, dtype: torch.dtype
) -> None:
    """As on a T4 or a V100, of which PyTorch says that they can."""

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or has_bf16

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert device._compute_dtype(torch.device("cuda", 0)) == dtype


@pytest.mark.parametrize(
    ("lines", "files", "folders"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, ["."]),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, ["a/b", "a", "."]),
        ("0::/of/the/host\n", {"cpu.max": "150000 100000"}, ["."]),
        (
            "4:cpu,cpuacct:/docker/1\n5:memory:/docker/2\n",
            {"cpu/docker/1/cpu.cfs_quota_us": "150000\n", "cpu/docker/1/cpu.cfs_period_us": "100000\n"},
            ["cpu/docker/1", "cpu/docker", "cpu"],
        ),
    ],
)
def test_a_containers_share_of_the_cores_counts(
    tmp_path: Path, lines: str, files: dict[str, str], folders: list[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "mine").write_text(lines)
    found = device.cgroup_folders("cpu", tmp_path / "mine", tmp_path)
    assert found == [tmp_path / folder for folder in folders]
    assert [share for share in map(device._cpu_share, found) if share] == [1.5]


def test_other_limits_and_none_are_no_share(tmp_path: Path) -> None:
    for number, text in enumerate(("max 100000", "-1 100000", "", "1 2 3", "1 0", "x y")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cpu.max").write_text(text)
        assert device._cpu_share(tmp_path / str(number)) is None
    assert device._cpu_share(tmp_path) is None
    assert device.cgroup_folders("cpu", tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        (
            "0::/a\n",
            {"a/memory.max": "600", "a/memory.current": "500", "a/memory.stat": "anon 460\ninactive_file 40\n"},
            (140, 600),
        ),
        (
            "0::/a\n",
            {
                "a/memory.max": "max", "a/memory.current": "500", "a/memory.stat": "inactive_file 40",
                "memory.max": "700", "memory.current": "710", "memory.stat": "inactive_file 0",
            },
            (0, 700),
        ),
        (
            "5:memory:/d\n",
            {
                "memory/d/memory.limit_in_bytes": "600\n", "memory/d/memory.usage_in_bytes": "500\n",
                "memory/d/memory.stat": "total_inactive_file 40\n",
            },
            (140, 600),
        ),
    ],
)  # fmt: skip
def test_a_containers_memory_counts_without_the_files_that_are_only_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, files: dict[str, str], expected: tuple[int, int]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "mine").write_text(lines)
    monkeypatch.setattr(device.cgroup_folders, "__defaults__", (tmp_path / "mine", tmp_path))
    put(monkeypatch, MALMOI_DEVICE="cpu")
    assert device.memory_bytes() == expected


def _policy_of(given: dict[str, str]) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    show = "import malmoi, os, sys; print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="no /proc/loadavg here")
def test_threads_that_wait_leave_the_cores_to_others_that_compute_unless_told() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        try:
            assert _policy_of({}) == ["PASSIVE", "False"]
            assert _policy_of({"OMP_WAIT_POLICY": "active"}) == ["active", "False"]
        finally:
            busy.kill()


@pytest.mark.parametrize(
    ("text", "found"), [("0.9 1.0 1.1 1/99 7", False), ("0.0 0.0 0.0 2/99 7", True), ("", False), ("a b c d e", False)]
)
def test_another_process_computes_where_more_than_this_one_runs(tmp_path: Path, text: str, found: bool) -> None:
    (tmp_path / "loadavg").write_text(text)
    assert malmoi._others_compute(tmp_path / "loadavg") is found
    assert not malmoi._others_compute(tmp_path / "nowhere")
