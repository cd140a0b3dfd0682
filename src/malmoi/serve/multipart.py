"""Forms with files (multipart/form-data, RFC 7578), as the official client of OpenAI's API sends pictures."""

import re
from dataclasses import dataclass

from malmoi.feedback.refusals import invalid

MOST_PARTS = 40
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_NAME = re.compile(r'[;\s]name="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """files, texts: the parts with and without a file's name, by their names without a final []"""

    files: dict[str, list[bytes]]
    texts: dict[str, str]


def parse_form(body: bytes, content_type: str) -> Form:
    """Raises RefusedError for what is no such form."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise invalid("body", "expected multipart/form-data with a boundary")
    mark = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--") or len(pieces) > MOST_PARTS + 2:
        raise invalid("body", f"expected a form of at most {MOST_PARTS} parts, with its end")
    form = Form({}, {})
    for piece in pieces[1:-1]:
        head, blank, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        about = next((line for line in lines if line.lower().startswith("content-disposition:")), "")
        name = _NAME.search(about)
        if not blank or name is None:
            raise invalid("body", "a part of the form has no name")
        key = name[1].removesuffix("[]")
        if "filename=" in about or "filename*=" in about:
            form.files.setdefault(key, []).append(content)
        else:
            try:
                form.texts[key] = content.decode()
            except UnicodeDecodeError:
                raise invalid(key, "is not UTF-8") from None
    return form
