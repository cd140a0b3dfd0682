"""Pictures of one's own: what people have is read, what cannot be is counted and named, and the rest goes on."""

import io
import json
import os
import tarfile
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from malmoi.errors import DataError
from malmoi.image import files
from malmoi.image.alike import Seen
from malmoi.image.collect import MOST_CHARS, Captioned, Report, collect, identity


def picture(seed: int, size: tuple[int, int] = (20, 30), mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """A small file that says it is gigantic."""
    data = bytearray(saved(Image.new("1", (8, 8))))
    data[16:24] = side.to_bytes(4) * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4)
    return bytes(data)


def write(folder: Path, contents: dict[str, bytes | str]) -> Path:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def read(root: Path) -> tuple[dict[str, Captioned], Report]:
    report = Report()
    return {one.source: one for one in collect(root, report)}, report


def write_tar(path: Path, contents: dict[str, bytes | str], extra: Callable[[tarfile.TarFile], None] = id) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        extra(archive)
    return path


def test_captions_are_beside_the_pictures_or_in_metadata(tmp_path: Path) -> None:
    rows = [
        {"file_name": "b.jpg", "text": "초록색 배", "licence": "CC0", "attribution": "Kim", "concept": "boat"},
        {"file_name": "c.png", "captions": {"en": "a cat", "ko": "고양이"}},
    ]
    write(tmp_path, {
        "a.png": saved(picture(1)), "a.txt": "\ufeffA red\n boat.  ", "sub/d.webp": saved(picture(2), "WEBP"),
        "sub/d.en.txt": "A dog", "sub/d.ko.txt": "개", "in/b.jpg": saved(picture(3), "JPEG"),
        "in/c.png": saved(picture(4)), "in/metadata.jsonl": "\n".join(map(json.dumps, rows)), ".hidden.png": b"",
    })  # fmt: skip
    found, report = read(tmp_path)
    assert {name: dict(one.captions) for name, one in found.items()} == {
        "a.png": {"en": "A red boat."}, "sub/d.webp": {"en": "A dog", "ko": "개"}, "in/b.jpg": {"ko": "초록색 배"},
        "in/c.png": {"en": "a cat", "ko": "고양이"},
    }  # fmt: skip
    assert found["a.png"].concept == "a red boat" and found["a.png"].licence == "not stated"
    boat = found["in/b.jpg"]
    assert (boat.licence, boat.attribution, boat.concept) == ("CC0", "Kim", "boat")
    assert not report.left_out and not report.notes


def test_names_that_systems_write_differently_are_one_name(tmp_path: Path) -> None:
    apart, whole = unicodedata.normalize("NFD", "고양이"), "고양이"
    rows = [{"file_name": f"{whole}.png", "text": "가"}, {"file_name": "e.png"}, {"file_name": "/", "text": "b"}]
    members: dict[str, bytes | str] = {f"{apart}.png": saved(picture(5)), f"{whole}.txt": "마"}
    write(tmp_path, {
        f"{apart}.png": saved(picture(1)), f"{whole}.txt": "나", "CAT.PNG": saved(picture(2)), "CAT.TXT": "a cat",
        f"in/{apart}.png": saved(picture(3)), "in/metadata.jsonl": "\n".join(map(json.dumps, rows)),
        "in/e.png": saved(picture(4)), "in/e.txt": "beside",
    })  # fmt: skip
    write_tar(tmp_path / "in.tar", members)
    found, report = read(tmp_path)
    captions = {unicodedata.normalize("NFC", name): [*one.captions.values()] for name, one in found.items()}
    assert captions == {
        f"{whole}.png": ["나"], "CAT.PNG": ["a cat"], f"in/{whole}.png": ["가"], "in/e.png": ["beside"],
        f"in.tar/{whole}": ["마"],
    }  # fmt: skip
    assert report.left_out == {"row of metadata whose picture is not in the folder": 1}


def odd_pictures() -> dict[str, bytes]:
    turned = Image.new("RGB", (20, 30), (250, 0, 0))
    exif = turned.getexif()
    exif[0x0112] = 6
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((8, 8), 65535, np.uint16))
    return {
        "turned.jpg": saved(turned, "JPEG", exif=exif), "clear.png": saved(clear), "deep.png": saved(deep),
        "cmyk.jpg": saved(picture(5, mode="CMYK"), "JPEG"),
        "moving.gif": saved(picture(6), "GIF", save_all=True, append_images=[picture(7)]),
    }  # fmt: skip


def broken_pictures() -> dict[str, bytes]:
    return {"broken.png": saved(picture(8))[:200], "empty.png": b"", "no.png": b"not a picture", "bomb.png": bomb()}


@pytest.mark.parametrize("in_tar", [False, True])
def test_what_people_have_is_read_and_what_cannot_be_is_counted(tmp_path: Path, in_tar: bool) -> None:
    contents: dict[str, bytes | str] = {**odd_pictures(), **broken_pictures(), "long.png": saved(picture(9))}
    contents |= {f"{Path(name).stem}.txt": f"caption of {name}" for name in contents}
    contents |= {"long.txt": "word " * 2000, "bare.png": saved(picture(10)), "blank.png": saved(picture(11))}
    contents |= {"blank.txt": " \u200b\n", "cp949.png": saved(picture(12)), "cp949.txt": "고양이".encode("cp949")}
    root = write_tar(tmp_path / "all.tar", contents) if in_tar else write(tmp_path / "all", contents)
    found, report = read(root)
    by_stem = {Path(name).name.partition(".")[0]: one for name, one in found.items()}
    assert set(by_stem) == {"turned", "clear", "deep", "cmyk", "moving", "long"}
    assert by_stem["turned"].pixels.shape == (20, 30, 3) and (by_stem["clear"].pixels == 255).all()
    assert (by_stem["deep"].pixels == 255).all() and len(by_stem["long"].captions["en"]) == MOST_CHARS
    assert report.left_out == {
        "no caption": 3, "the picture is broken": 1, "is empty": 1, "not a picture that can be read": 1,
        "picture that is too large": 1,
    }  # fmt: skip
    assert report.notes["animated: the first frame is taken"] == 1
    assert report.notes["caption of more than 1,000 characters, cut"] == 1
    assert any("bomb" in example for example in report.examples)


def test_a_huge_file_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 50)
    monkeypatch.setattr("malmoi.image.collect.MOST_BYTES", 50)
    contents = {"a.png": saved(picture(1)), "a.txt": "a"}
    for root in (write(tmp_path / "folder", contents), write_tar(tmp_path / "a.tar", contents)):
        assert read(root)[1].left_out == {"picture that is too large": 1}


def test_pipes_and_links_to_nothing_are_named_and_never_waited_for(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": saved(picture(1)), "a.txt": "a", "b.png": saved(picture(2))})
    for name in ("b.txt", "c.png"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "d.png").symlink_to(tmp_path / "nothing")
    found, report = read(tmp_path)
    assert list(found) == ["a.png"]
    assert report.left_out == {"no plain file, or a link to nothing": 3, "no caption": 1}
    assert len(identity(tmp_path)) == 64


def test_metadata_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path, {"secret.png": saved(picture(1)), "own/a.png": saved(picture(2))})
    names = ["../secret.png", str(tmp_path / "secret.png"), "missing.png", "sub/../a.png", "a\0.png"]
    rows = [json.dumps({"file_name": name, "text": name}) for name in names]
    write(tmp_path, {"own/metadata.jsonl": "\n".join([*rows, "{broken", "[1]", '{"text": "x"}', ""])})
    found, report = read(tmp_path / "own")
    assert [dict(one.captions) for one in found.values()] == [{"en": "sub/../a.png"}]
    assert report.left_out["row of metadata whose picture is not in the folder"] == 4
    assert report.left_out["row of metadata without a file_name"] == 3


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"secret.png": saved(picture(1)), "secret.txt": "secret"})

    def links(archive: tarfile.TarFile) -> None:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            member = tarfile.TarInfo(f"a{kind!r}.png")
            member.type, member.linkname = kind, str(tmp_path / "secret.png")
            archive.addfile(member)

    contents = {"../b.png": saved(picture(2)), "../b.txt": "b", "c.txt": "alone"}
    found, report = read(write_tar(tmp_path / "in.tar", contents, links))
    assert list(found) == ["in.tar/../b"] and sorted(path.name for path in tmp_path.iterdir()) == [
        "in.tar", "secret.png", "secret.txt"
    ]  # fmt: skip
    assert report.left_out == {
        "link in an archive": 2, "no plain file in an archive": 1, "caption without a picture": 1
    }  # fmt: skip


def test_samples_of_webdataset_need_not_be_in_order(tmp_path: Path) -> None:
    contents = {
        "x/1.json": '{"caption": "first", "license": "CC0"}', "x/2.en.txt": "second", "x/2.ko.txt": "둘째",
        "x/2.png": saved(picture(2)), "x/1.jpg": saved(picture(1), "JPEG"), "x/1.cls": "7",
    }  # fmt: skip
    write_tar(tmp_path / "a.tar", contents)
    found, _ = read(tmp_path)
    assert dict(found["a.tar/x/2"].captions) == {"en": "second", "ko": "둘째"}
    assert found["a.tar/x/1"].licence == "CC0" and dict(found["a.tar/x/1"].captions) == {"en": "first"}


@pytest.mark.parametrize(("cut", "n_whole"), [(200, 0), (700, 0), (2000, 1), (2600, 1)])
def test_a_damaged_archive_loses_only_what_is_damaged(tmp_path: Path, cut: int, n_whole: int) -> None:
    contents: dict[str, bytes | str] = {}
    for number in range(4):  # each of 2,048 bytes: a header and 512 bytes, twice
        contents |= {f"{number}.png": saved(picture(number, (8, 8))), f"{number}.txt": f"{number}"}
    path = write_tar(tmp_path / "a.tar", contents)
    path.write_bytes(path.read_bytes()[:cut])
    found, report = read(tmp_path)
    assert len(found) == n_whole
    assert report.left_out.total() + report.notes.total() >= 1


def test_file_names_that_are_not_utf8_are_read_and_named(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xb0\xed\xbe\xe7"
    for end, content in ((b".png", saved(picture(1))), (b".txt", b"a cat")):
        with open(name + end, "wb") as file:
            file.write(content)
    found, _ = read(tmp_path)
    assert list(found) == [r"\xb0\xed\xbe\xe7.png"]
    json.dumps(list(found)).encode()


def test_the_identity_is_of_what_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": saved(picture(1)), "a.txt": "a", "notes.md": "x"})
    before = identity(tmp_path)
    write(tmp_path, {"notes.md": "y"})
    assert identity(tmp_path) == before
    write(tmp_path, {"a.txt": "b"})
    assert identity(tmp_path) != before
    for wrong in (tmp_path / "no", tmp_path / "notes.md"):
        with pytest.raises(DataError, match=r"no such file|not a folder"):
            identity(wrong)


def test_copies_are_known_and_others_are_not() -> None:
    smooth = np.asarray(picture(1, (4, 4)).resize((48, 48), Image.Resampling.BICUBIC))
    other = np.asarray(picture(2, (4, 4)).resize((48, 48), Image.Resampling.BICUBIC))
    copy = np.asarray(Image.open(io.BytesIO(saved(Image.fromarray(smooth).resize((40, 40)), "JPEG"))).resize((48, 48)))
    seen = Seen()
    assert [seen.add(one) for one in (smooth, smooth, copy, other)] == ["new", "exact", "near", "new"]


def test_text_chunks_that_are_bombs_are_counted(tmp_path: Path) -> None:
    about = PngImagePlugin.PngInfo()
    about.add_text("a", "x" * 80_000_000, zip=True)
    write(tmp_path, {"a.png": saved(picture(1), pnginfo=about), "a.txt": "a"})
    assert read(tmp_path)[1].left_out.total() == 1
