"""Pictures as files: read whatever a person gives, write PNG files that say how they were made.

Pixels are arrays of unsigned bytes, (height, width, 3), red, green, blue.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from malmoi.errors import DataError
from malmoi.files import write_bytes

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
MOST_PIXELS = 50_000_000
"""Of a picture that is read: about 750 MB while it is decoded. Phones take pictures of 12 to 50 million."""
MOST_BYTES = 200_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Those that Pillow decodes itself; others, such as EPS, would start programs."""
NAMES = "PNG, JPEG, WebP, GIF, BMP or TIFF"
WHITE = (255, 255, 255)
FULL_16 = 65535
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What EXIF data say of how a picture is to be shown -> how it is turned for that."""
# The limit on pixels is our own, and is lower than the one at which Pillow warns.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Odd EXIF data of people's pictures, in lines of Pillow's own source.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class Given:
    """A picture as a person gave it.

    remarks: what was left out of it or changed, each a few words
    clear: where it is transparent, (height, width); None: it cannot be
    about: its text chunks
    """

    pixels: Pixels
    remarks: tuple[str, ...] = ()
    clear: Mask | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_picture(path: Path) -> Given:
    """Any picture: turned as its EXIF data say, transparent parts on white, the first frame of an animated one.

    Raises DataError for a file that is missing, broken, too large, or no picture.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)  # a device has no size, and no end
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a picture file") from None
    if len(data) > MOST_BYTES:
        raise DataError(f"{path}: has more than {MOST_BYTES // 10**6:,} MB; save the picture smaller")
    return decode(data, str(path))


def decode(data: bytes, name: str) -> Given:
    """As `read_picture`, of a file's bytes. name: for messages"""
    if not data:
        raise DataError(f"{name}: is empty; give a picture")
    if data.lstrip()[:5].lower() in (b"<?xml", b"<svg ", b"<svg>"):
        raise DataError(f"{name}: is a drawing of lines (SVG), not of pixels; save it as PNG first")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened.size, name)
            opened.load()
            about = {key: text for key, text in getattr(opened, "text", {}).items() if isinstance(text, str)}
            pixels, clear = _seen(_turned(opened), name)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name) from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture that can be read; save it as {NAMES}") from None
    except Exception as error:  # decoders of broken files raise many kinds
        raise DataError(f"{name}: the picture is broken ({error or type(error).__name__}); save it again") from None
    return Given(pixels, ("it has several frames; the first is taken",) if _moves(data) else (), clear, about)


def read_mask(given: Given) -> Mask:
    """Where to draw, (height, width): the transparent parts of a picture that has some, else the bright ones."""
    if given.clear is not None and given.clear.any():
        return given.clear
    return np.asarray(given.pixels.mean(axis=2) >= 128)


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The picture at another size, (height, width), without distortion: what is too much is cut off evenly."""
    height, width = size
    image = Image.fromarray(pixels)
    if image.size == (width, height):
        return pixels
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))


def resized_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask at another size, cut as `resized` cuts the picture that it belongs to."""
    return resized(np.repeat(mask[:, :, None], 3, axis=2).astype(np.uint8) * 255, size)[:, :, 0] >= 128


def png_of(pixels: Pixels, about: Mapping[str, str]) -> bytes:
    """A PNG file. about: text chunks, keyword -> text; what is not ASCII is written as UTF-8 (iTXt)"""
    info = PngImagePlugin.PngInfo()
    for key, text in about.items():
        if text.isascii():
            info.add_text(key, text)
        else:
            info.add_itxt(key, text)
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(written, "PNG", pnginfo=info)
    return written.getvalue()


def write_png(path: Path, pixels: Pixels, about: Mapping[str, str]) -> None:
    write_bytes(path, png_of(pixels, about))


def pixels_of(values: NDArray[np.float32], name: str) -> Pixels:
    """Values in -1 to 1, (..., 3, height, width), as pixels. Raises DataError if one is not a number.

    name: what was drawn, for the message
    """
    if not np.isfinite(values).all():
        raise DataError(f"{name}: the model drew values that are not numbers (NaN); its weights may be broken")
    return np.asarray(np.moveaxis(((values.clip(-1, 1) + 1) * 127.5).round(), -3, -1).astype(np.uint8))


def values_of(pixels: Pixels) -> NDArray[np.float32]:
    """Pixels as values in -1 to 1, (3, height, width)."""
    return np.ascontiguousarray(np.moveaxis(pixels.astype(np.float32) / 127.5 - 1, -1, -3))


def _check_size(size: tuple[int, int], name: str) -> None:
    if math.prod(size) > MOST_PIXELS:
        raise _too_large(name, size)


def _too_large(name: str, size: tuple[int, int] | None = None) -> DataError:
    said = f"{size[0]:,} × {size[1]:,} pixels are" if size else "it is"
    return DataError(
        f"{name}: {said} too large, at most {MOST_PIXELS // 10**6} million pixels are read; make it smaller"
    )


def _moves(data: bytes) -> bool:
    """Whether a file has a second picture. They are not counted: of a TIFF that takes the square of their number. The
    further ones in a phone's JPEG are previews."""
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        opened.seek(1)
        return opened.format != "MPO"
    return False


def _turned(image: Image.Image) -> Image.Image:
    """The picture as its EXIF data say that it is to be shown. `ImageOps.exif_transpose` writes the data again, too,
    and fails where they are odd."""
    with contextlib.suppress(Exception):
        if (turn := TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))) is not None:
            return image.transpose(turn)
    return image


def _seen(image: Image.Image, name: str) -> tuple[Pixels, Mask | None]:
    """Pixels on white, and where the picture is transparent; None: it cannot be."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip
        values = np.asarray(image).astype(np.float32)
        return np.repeat((values.clip(0, FULL_16) / 257).round().astype(np.uint8)[:, :, None], 3, axis=2), None
    if image.mode == "F":
        raise DataError(f"{name}: its pixels are fractions, whose white is not known; save it as PNG")
    if not image.has_transparency_data:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), None
    seen = image if image.mode == "RGBA" else image.convert("RGBA")
    ground = Image.new("RGB", image.size, WHITE)
    ground.paste(seen, mask=seen.getchannel("A"))
    return np.asarray(ground), np.asarray(seen.getchannel("A")) < 128
