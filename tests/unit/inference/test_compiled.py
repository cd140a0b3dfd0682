"""The library in C is compiled once, kept safely, and done without where it fails."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from malmoi.errors import ConfigError
from malmoi.inference import compiled

SMALL = "long long scratch_size(void) { return 1; }\nlong long multiplies_bf16(void) { return 0; }\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and a source that compiles at once."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler here")
    source = tmp_path / "small.c"
    source.write_text(SMALL)
    monkeypatch.setattr(compiled, "SOURCES", (source,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiled.library.cache_clear()
    yield tmp_path / "cache" / "malmoi"
    compiled.library.cache_clear()


def load_again() -> Path:
    """The library that a new process would load."""
    return compiled._found_or_made(compiled._compiler())


def test_it_is_compiled_once_and_says_so(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "when it is first needed" in compiled.state().text
    assert not list(cache.glob("*.so"))
    assert compiled.library() is not None
    assert capsys.readouterr().err.count("compiling") == 1
    assert load_again().parent == cache
    assert capsys.readouterr().err == ""
    assert compiled.state().text.startswith("in C")


def test_a_damaged_library_is_compiled_again(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = load_again()
    whole = path.read_bytes()
    for harm in (lambda: path.write_bytes(whole[:100]), lambda: path.write_bytes(whole[:-1] + b"x"),
                 lambda: path.chmod(0o664), lambda: path.with_suffix(".json").write_text("{"),
                 lambda: (path.unlink(), path.symlink_to("/dev/null"))):  # fmt: skip
        capsys.readouterr()
        harm()
        assert load_again() == path
        assert "compiling" in capsys.readouterr().err
        assert path.read_bytes() == whole or compiled._is_whole(path)


def test_a_folder_that_others_can_write_to_is_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(cache.parent.parent))
    path = load_again()
    cache.chmod(0o770)
    other = load_again()
    assert other.parent != path.parent and other.parent.stat().st_mode & 0o777 == 0o700


def test_a_failure_is_remembered_until_the_source_changes(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled.SOURCES[0].write_text("#error no luck\n" + SMALL)
    assert compiled.library() is None
    assert "no luck" in capsys.readouterr().err
    compiled.library.cache_clear()
    assert compiled.library() is None
    assert capsys.readouterr().err == ""
    assert not compiled.state().is_used and "no luck" in compiled.state().text
    compiled.SOURCES[0].write_text(SMALL)
    compiled.library.cache_clear()
    assert compiled.library() is not None


def test_without_openmp_it_runs_on_one_thread_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "ATTEMPTS", (("-fno-such-option-as-this",), ()))
    assert compiled.library() is not None
    assert "lacks OpenMP" in compiled.state().text


def test_options_for_the_compiler_are_used_and_have_a_library_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_again()
    compiled.SOURCES[0].write_text("#ifdef WANTED\n" + SMALL + "#else\n#error not wanted\n#endif\n")
    monkeypatch.setenv("MALMOI_CFLAGS", "-DWANTED '-DOTHER=a b'")
    wanted = load_again()
    assert wanted != plain
    monkeypatch.setenv("MALMOI_CFLAGS", "-DWANTED")
    assert load_again() != wanted


def test_options_that_cannot_be_read_end_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALMOI_CFLAGS", "-D'WANTED")
    with pytest.raises(ConfigError, match="MALMOI_CFLAGS=-D'WANTED: No closing quotation"):
        compiled.library()
    with pytest.raises(ConfigError, match="MALMOI_CFLAGS"):
        compiled.state()


def test_a_user_without_a_home_has_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert load_again().parent == tmp_path / f"malmoi-{os.getuid()}"


def test_two_processes_compile_it_once(cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from malmoi.inference import compiled\n"
        "compiled.SOURCES = (Path(sys.argv[1]),); assert compiled.library() is not None"
    )
    command = [sys.executable, "-c", code, str(compiled.SOURCES[0])]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(said).count("compiling") == 1
