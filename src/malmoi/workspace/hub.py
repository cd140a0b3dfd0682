"""Models and data from the Hugging Face hub."""

import contextlib
import hashlib
import http.client
import ipaddress
import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from malmoi import __version__
from malmoi.errors import ConfigError, UserError
from malmoi.files import disk_errors, partial_name, read_json, remove_stale_partials
from malmoi.formats.locate import CONFIG, INDEX, WEIGHTS
from malmoi.workspace.download import CHUNK, Progress, check_sha256, write

ENDPOINT = "https://huggingface.co"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SETTINGS = (
    CONFIG, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja",
)  # fmt: skip
_PRINTABLE = re.compile(r"[!-~]+")


class UnreachableError(UserError):
    """The hub does not answer; another source may be tried."""


@dataclass(frozen=True)
class Dataset:
    """Files of a data set on the hub. files: patterns, such as helpful-base/train*; revision: commit, branch or tag"""

    hub_id: str
    files: tuple[str, ...]
    revision: str = "main"

    @classmethod
    def parse(cls, name: str) -> "Dataset | None":
        """OWNER/NAME, OWNER/NAME/FILES, each with @REVISION or without; None for anything else."""
        name, _, revision = name.partition("@")
        owner, _, rest = name.partition("/")
        title, _, files = rest.partition("/")
        hub_id = f"{owner}/{title}"
        if HUB_ID.fullmatch(hub_id) is None or (not files and title.endswith(ROWS)):
            return None
        return cls(hub_id, (files,) if files else DATA.get(hub_id, TRAINING), revision or "main")


ROWS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
"""Endings of the files that hold rows."""
TRAINING = ("train*", "*/train*", "*_train*")
"""What is fetched of a data set if no files are named."""
DATA = {
    # Not red-team-attempts: transcripts without a second answer.
    "Anthropic/hh-rlhf": ("h*/train.jsonl.gz",),
    "OpenAssistant/oasst1": ("data/train-*.parquet", "*_oasst_ready.messages.jsonl.gz"),
}


class _Redirects(HTTPRedirectHandler):
    """The hub redirects to other hosts for large files: they get no token. Redirects from HTTPS to HTTP are refused."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:  # fmt: skip
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in {"https", old.scheme}:
            fp.close()
            raise UserError(f"{old.hostname}: sends on to {new.scheme}://{new.netloc}; that is less safe, not followed")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and new.netloc != old.netloc:
            request.remove_header("Authorization")
        return request


def _endpoint() -> str:
    found = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or ENDPOINT
    try:
        address = urlsplit(found)
        is_address = address.scheme in ("https", "http") and bool(address.hostname) and (address.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address or not _PRINTABLE.fullmatch(found):
        raise ConfigError(f"HF_ENDPOINT: {found!r} is not an address; they look like {ENDPOINT}")
    return found


def _token() -> str | None:
    """HF_TOKEN, without the newline that files often end with."""
    found = os.environ.get("HF_TOKEN", "").strip()
    if found and not _PRINTABLE.fullmatch(found):
        raise ConfigError("HF_TOKEN: holds a space or a character that no token has; copy it again")
    return found or None


def _is_safe(url: str) -> bool:
    """Whether nobody else can read what is sent: over HTTPS, or to this machine itself."""
    address = urlsplit(url)
    host = address.hostname or ""
    with contextlib.suppress(ValueError):
        return address.scheme == "https" or ipaddress.ip_address(host).is_loopback
    return address.scheme == "https" or host == "localhost"


class _Listed(NamedTuple):
    """A file as the hub lists it; length and SHA-256 are None if the hub does not give them."""

    name: str
    n_bytes: int | None
    sha256: str | None


def _listed(entry: Mapping[str, Any]) -> _Listed:
    """Raises TypeError, KeyError or AttributeError if the entry is not one of a hub."""
    n_bytes, sha256 = entry.get("size"), (entry.get("lfs") or {}).get("sha256")
    if type(n_bytes) is not int and n_bytes is not None:
        raise TypeError(f"expected a length, found {n_bytes!r}")
    return _Listed(_text(entry["rfilename"]), n_bytes, sha256 and _text(sha256))


def _instead(names: Mapping[str, Any]) -> str:
    """What a repository holds that has no model folder, and how to mend it."""
    ggufs = sorted(name for name in names if name.lower().endswith(".gguf"))
    if "adapter_config.json" in names:
        return "is a PEFT adapter, which changes a model and is none; merge it with its model and import that folder"
    if ggufs:
        shown = ", ".join(ggufs[:5])
        return f"holds GGUF files ({shown}), no safetensors; download one of them, then: malmoi models import FILE"
    return "has no config.json with safetensors, and nothing else is read as weights"


def _is_below(name: str) -> bool:
    """Whether a file of this name stays inside the folder that it is written to."""
    return not name.startswith("/") and "\\" not in name and ".." not in name.split("/")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


@dataclass(frozen=True)
class Hub:
    """A Hugging Face hub, or a mirror of one: HF_ENDPOINT; HF_TOKEN gives access to private and gated models.

    The token is sent over HTTPS, and to this machine itself; never over plain HTTP to another.
    attempts: for a file that is cut off; each continues where the last one stopped
    pause_s: before the second attempt; it doubles with each
    """

    endpoint: str = field(default_factory=_endpoint)
    token: str | None = field(default_factory=_token, repr=False)
    timeout_s: float = 30.0
    attempts: int = 5
    pause_s: float = 1.0

    def fetch(self, hub_id: str, folder: Path, progress: Progress, revision: str = "main") -> str:
        """Download a model's settings and safetensors; returns the commit that `revision` stands for.

        What an earlier call left in the folder, broken off, is continued where the hub gives a SHA-256.
        progress: is told of every file, with 0 bytes, before the first one comes
        Raises UnreachableError if the hub does not answer, UserError if it does not have the model or refuses access.
        """
        if HUB_ID.fullmatch(hub_id) is None:
            raise ConfigError(f"{hub_id}: not a name on the hub; they look like HuggingFaceTB/SmolLM2-135M-Instruct")
        commit, files = self._listing(hub_id, revision)
        if CONFIG not in files or not files.keys() & {WEIGHTS, INDEX}:
            raise UserError(f"{hub_id}: {_instead(files)}")
        base = f"{self.endpoint}/{hub_id}/resolve/{quote(commit, safe='')}"

        def get(names: Sequence[str]) -> None:
            self._check_room(folder, [files[name] for name in names], hub_id)
            for name in names:
                progress(name, 0, files[name].n_bytes)
            for name in names:
                self._download(f"{base}/{quote(name)}", folder / name, files[name], progress)

        get([*(name for name in SETTINGS if name in files), WEIGHTS if WEIGHTS in files else INDEX])
        if WEIGHTS not in files:
            get(self._shards(hub_id, folder / INDEX, files))
        return commit

    def _shards(self, hub_id: str, index: Path, files: Mapping[str, _Listed]) -> list[str]:
        found = read_json(index)
        table = found.get("weight_map") if isinstance(found, dict) else None
        shards = sorted({str(shard) for shard in table.values()}) if isinstance(table, dict) else []
        for shard in shards or ["nothing"]:
            if shard not in files or re.fullmatch(r"[\w-][\w.-]*\.safetensors", shard) is None:
                raise UserError(f"{hub_id}: its {INDEX} names {shard}, which it does not have")
        return shards

    def fetch_data(self, dataset: Dataset, folder: Path, progress: Progress) -> tuple[str, list[Path]]:
        """Download the files of a data set below `folder`, unless they are there; returns the commit and the files.

        The first of its patterns that matches is used. Raises as `fetch` does.
        """
        commit, listed = self._listing(dataset.hub_id, dataset.revision, "datasets")
        if re.fullmatch(r"[\w-]+", commit) is None:
            raise UserError(f"{dataset.hub_id}: the hub names no commit ({commit!r:.60})")
        rows = sorted(name for name in listed if name.lower().endswith(ROWS) and _is_below(name))
        matches = ([name for name in rows if fnmatchcase(name, pattern)] for pattern in dataset.files)
        names = next(filter(None, matches), [])
        if not names:
            has = ", ".join(rows[:10]) or f"nothing that ends in {' '.join(ROWS)}"
            wanted = " or ".join(dataset.files)
            raise UserError(f"{dataset.hub_id}: has no {wanted} but {has}; write {dataset.hub_id}/FILES")
        found = [folder / dataset.hub_id.replace("/", "--") / commit / name for name in names]
        base = f"{self.endpoint}/datasets/{dataset.hub_id}/resolve/{quote(commit, safe='')}"
        for name, path in zip(names, found, strict=True):
            if path.exists():
                continue
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._check_room(path.parent, [listed[name]], dataset.hub_id)
            remove_stale_partials(path)
            partial = partial_name(path)
            try:
                self._download(f"{base}/{quote(name)}", partial, listed[name], progress)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        return commit, found

    @staticmethod
    def _check_room(folder: Path, files: Sequence[_Listed], hub_id: str) -> None:
        missing = sum(file.n_bytes or 0 for file in files) - shutil.disk_usage(folder).free
        if missing > 0:
            raise UserError(f"{folder}: the disk lacks {missing / 1e9:.1f} GB for {hub_id}; free some space")

    def _listing(
        self, hub_id: str, revision: str, kind: Literal["models", "datasets"] = "models"
    ) -> tuple[str, dict[str, _Listed]]:
        """The commit of a revision, and its files by name."""
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
            raise UnreachableError(f"{self.endpoint}: HF_HUB_OFFLINE says not to ask")
        url = f"{self.endpoint}/api/{kind}/{hub_id}/revision/{quote(revision, safe='')}?blobs=true"
        try:
            with self._open(url) as response:
                found = json.loads(response.read(64 * CHUNK))
            files = [_listed(entry) for entry in found["siblings"]]
            return _text(found["sha"]), {file.name: file for file in files}
        except (URLError, http.client.HTTPException, OSError) as error:
            raise UnreachableError(f"{self.endpoint}: cannot be reached ({_reason(error)})") from None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise UnreachableError(f"{url}: does not answer as a hub does; check HF_ENDPOINT") from None

    def _open(self, url: str, start: int = 0) -> Any:
        """Request a file from a byte on. Raises UserError for what another attempt cannot mend."""
        headers = {"User-Agent": f"malmoi/{__version__}"}
        is_sent = self.token is not None and _is_safe(url)
        headers |= {"Authorization": f"Bearer {self.token}"} if is_sent else {}
        headers |= {"Range": f"bytes={start}-"} if start else {}
        try:
            return build_opener(_Redirects).open(Request(url, headers=headers), timeout=self.timeout_s)
        except HTTPError as error:
            error.close()
            if error.code in (401, 403):
                if is_sent:
                    hint = "HF_TOKEN is not valid, or its owner may not read it; ask for access on the model's page"
                elif self.token:
                    hint = "HF_TOKEN is not sent over http://, where others can read it; give an https:// HF_ENDPOINT"
                else:
                    hint = "set HF_TOKEN if you may read it"
                raise UserError(f"{url}: not there, or closed to you ({error.code}); {hint}") from None
            if error.code in (404, 410):
                raise UserError(f"{url}: no such model, set, file or revision ({error.code}); check its name") from None
            raise

    def _download(self, url: str, path: Path, listed: _Listed, progress: Progress) -> None:
        """Write the file, or what is missing of it."""
        done, digest = _begun(path, listed)
        progress(path.name, done, listed.n_bytes)
        if not done or done != listed.n_bytes:
            digest = self._receive(url, path, listed.n_bytes, (done, digest), progress)
        try:
            check_sha256(path, listed.sha256, digest.hexdigest())
        except UserError:
            path.unlink()  # else the next attempt would go on with it
            raise

    def _receive(
        self, url: str, path: Path, n_bytes: int | None, begun: "tuple[int, hashlib._Hash]", progress: Progress
    ) -> "hashlib._Hash":
        """Write the file from where it ends; returns its digest. begun: bytes that are there, and their digest"""
        (done, digest), reason = begun, "the connection ended"
        with disk_errors(path), path.open("r+b" if done else "wb") as file:
            file.seek(done)
            for attempt in range(self.attempts):
                if attempt:
                    time.sleep(self.pause_s * 2 ** (attempt - 1))
                try:
                    with self._open(url, done) as response:
                        if done and not str(response.headers.get("Content-Range")).startswith(f"bytes {done}-"):
                            done, digest = 0, hashlib.sha256()
                            file.seek(0)
                            file.truncate()
                        length = response.headers.get("Content-Length", "")
                        expected = done + int(length) if length.isdecimal() else None
                        if n_bytes is not None and expected not in (None, n_bytes):
                            raise UserError(f"{url}: {expected} bytes long, expected {n_bytes}; nothing was kept")
                        expected = expected if n_bytes is None else n_bytes
                        while chunk := response.read1(CHUNK):  # what has arrived, so that a stop loses none of it
                            done += len(chunk)
                            if expected is not None and done > expected:
                                raise UserError(f"{url}: longer than the {expected} bytes expected; nothing was kept")
                            write(file, path, chunk)
                            digest.update(chunk)
                            progress(path.name, done, expected)
                    if expected is None or done == expected:
                        break
                    reason = "the connection ended"
                except (URLError, http.client.HTTPException, OSError) as error:
                    reason = _reason(error)
            else:
                raise UserError(f"{url}: cut off after {done:,} bytes ({reason}); run the same command again")
        return digest


def _begun(path: Path, listed: _Listed) -> "tuple[int, hashlib._Hash]":
    """Bytes of a file that are there, and their digest. Without a SHA-256 nothing would say whether the rest fits."""
    digest, done = hashlib.sha256(), 0
    if listed.sha256 is not None and path.is_file() and path.stat().st_size <= (listed.n_bytes or 0):
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                done += len(chunk)
                digest.update(chunk)
    return done, digest


def _reason(error: Exception) -> str:
    found = error.reason if isinstance(error, URLError) else error
    return " ".join(str(found).split()) or type(error).__name__
