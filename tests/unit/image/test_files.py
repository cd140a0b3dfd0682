"""Pictures as people give them, and as they are written."""

import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from malmoi.errors import DataError
from malmoi.image import files
from malmoi.image.files import (
    MOST_PIXELS,
    Given,
    decode,
    pixels_of,
    png_of,
    read_mask,
    read_picture,
    resized,
    resized_mask,
    values_of,
    write_png,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **how)
    return written.getvalue()


def halves() -> Image.Image:
    """Left red, right blue: 4 wide, 2 high."""
    image = Image.new("RGB", (4, 2), RED)
    image.paste(BLUE, (2, 0, 4, 2))
    return image


def test_a_plain_picture_keeps_its_pixels() -> None:
    given = decode(saved(halves()), "a.png")
    assert given.size == (2, 4) and given.remarks == ()
    assert given.pixels[0, 0].tolist() == [*RED] and given.pixels[1, 3].tolist() == [*BLUE]


def test_a_picture_is_turned_as_its_exif_data_say() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turned to the right
    given = decode(saved(halves(), exif=exif), "a.png")
    assert given.size == (4, 2)
    assert given.pixels[0, 0].tolist() == [*RED] and given.pixels[3, 0].tolist() == [*BLUE]


def test_transparent_parts_are_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    assert decode(saved(image), "a.png").pixels.tolist() == [[[255, 255, 255], [255, 0, 0]]]
    with_palette = Image.new("P", (2, 1), 0)
    with_palette.putpalette([0, 0, 0, 255, 0, 0])
    with_palette.putpixel((1, 0), 1)
    assert decode(saved(with_palette, "GIF", transparency=0), "a.gif").pixels[0].tolist() == [[255] * 3, [255, 0, 0]]


def test_16_bits_a_pixel_are_scaled_and_not_clipped() -> None:
    values = np.array([[0, 0x8080, 0xFFFF]], dtype=np.uint16)
    assert decode(saved(Image.fromarray(values)), "a.png").pixels[0, :, 0].tolist() == [0, 128, 255]


def test_the_inks_of_print_become_colours() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    pixel = decode(saved(cyan, "TIFF"), "a.tif").pixels[4, 4].tolist()
    assert pixel == [0, 255, 255]
    assert decode(saved(cyan, "JPEG"), "a.jpg").pixels[4, 4].tolist() == pytest.approx([0, 255, 255], abs=4)


def test_the_first_frame_of_an_animation_is_taken_and_said() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE, RED)]
    given = decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "a.gif")
    assert given.pixels[0, 0].tolist() == [*RED]
    assert given.remarks == ("it has several frames; the first is taken",)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_of_two_pictures_in_a_file_the_first_is_taken(kind: str) -> None:
    one, two = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    given = decode(saved(one, kind, save_all=True, append_images=[two]), "a")
    assert given.remarks and given.pixels[0, 0].tolist() == pytest.approx([*RED], abs=2)
    assert not decode(saved(one, kind), "a").remarks


def test_many_pictures_in_a_file_are_not_counted() -> None:
    data = bytearray(saved(Image.new("L", (4, 4)), "TIFF"))
    data += bytes(len(data) % 2)
    first = int.from_bytes(data[4:8], "little")
    after = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    directory = bytes(data[first:after])
    data[after : after + 4] = len(data).to_bytes(4, "little")
    for _ in range(50_000):  # to count them takes a minute: each is looked for among all before it
        data += directory + (len(data) + len(directory) + 4).to_bytes(4, "little")
    given = decode(bytes(data), "a.tif")
    assert given.size == (4, 4) and given.remarks


def test_odd_exif_data_cost_no_picture() -> None:
    turned, as_text = struct.pack("<HHI4s", 0x0112, 3, 1, b"\6\0\0\0"), struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + as_text + turned + bytes(4)
    data = saved(halves(), "JPEG", exif=exif)
    with pytest.raises(struct.error):  # a width that is no number; the library's own way writes the data again
        ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert decode(data, "a.jpg").size == (4, 2)


@pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
def test_what_never_ends_is_not_read_to_the_end(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    path = Path(name) if name.startswith("/") else tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
        writer = threading.Thread(target=lambda: path.write_bytes(bytes(1001)), daemon=True)
        writer.start()
    with pytest.raises(DataError, match="has more than"):
        read_picture(path)


def bomb() -> bytes:
    """A PNG file of a few bytes that claims 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(DataError, match="too large, at most 50 million pixels"):
        decode(bomb(), "bomb.png")
    side = int(MOST_PIXELS**0.5) + 1
    with pytest.raises(DataError, match=r"a\.gif: 7,072 × 7,072 pixels are too large"):
        decode(saved(Image.new("P", (side, side)), "GIF"), "a.gif")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"no picture at all", "not a picture that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture that can be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is a drawing of lines"),
        (saved(halves())[:45], "broken"),
        (saved(Image.effect_noise((64, 64), 90), "JPEG")[:900], "broken"),
        (saved(Image.new("F", (2, 2)), "TIFF"), "whose white is not known"),
    ],
    ids=["empty", "text", "eps", "svg", "half-a-png", "half-a-jpeg", "fractions"],
)
def test_what_is_no_picture_is_one_line(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        decode(data, "given.png")
    assert str(caught.value).startswith("given.png: ") and "\n" not in str(caught.value)


def test_odd_paths_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(DataError, match=str(path)):
            read_picture(path)


def test_what_is_written_is_read_back_in_any_language(tmp_path: Path) -> None:
    about = {"prompt": "파란 네모 위의 빨간 동그라미 🔴", "negative": "café\nline", "seed": "7", "steps": "20"}
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    write_png(tmp_path / "a.png", pixels, about)
    given = read_picture(tmp_path / "a.png")
    assert given.about == about and np.array_equal(given.pixels, pixels)
    assert png_of(pixels, about) == (tmp_path / "a.png").read_bytes()
    assert decode(saved(halves(), "JPEG"), "a.jpg").about == {}


def test_values_and_pixels_are_inverses() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert np.array_equal(pixels_of(values_of(pixels), "a"), pixels)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_never_becomes_a_picture(value: float) -> None:
    values = np.zeros((3, 2, 2), dtype=np.float32)
    values[1, 1, 1] = value
    with pytest.raises(DataError, match=r"seed 7: .* not numbers"):
        pixels_of(values, "seed 7")


def test_another_size_is_cut_and_not_stretched() -> None:
    wide = np.zeros((4, 12, 3), dtype=np.uint8)
    wide[:, 4:8] = 255  # a white square in the middle
    assert resized(wide, (4, 4)).min() == 255
    assert resized_mask(read_mask(Given(wide)), (8, 8)).all()
    assert resized(wide, (4, 12)) is wide
