"""Sources at addresses: https with a certificate of its own, http, and a stand-in for S3; and what goes wrong there."""

import datetime
import gzip
import ipaddress
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from malmoi.corpus.build import build
from malmoi.corpus.built import pages_of
from malmoi.corpus.form import Settings
from malmoi.corpus.sources import find_sources
from malmoi.errors import DataError
from tests.unit.corpus.test_web import page_of, prose, records, same_files, zipped

pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")
pytest.importorskip("aiohttp", reason="pip install 'malmoi[remote]'")


class Files(ThreadingHTTPServer):
    """Serves files, with ranges, and lists them as S3 does (ListObjectsV2): a stand-in for both.

    cut: addresses that end in the middle; hidden: addresses that are gone after they were found
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.cut, self.asked = files, set[str](), list[str]()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Files

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        path = unquote(asked.path).strip("/")
        self.server.asked.append(path)
        query = parse_qs(asked.query)
        if "list-type" in query:
            self._listed(path, query.get("prefix", [""])[0], query.get("delimiter", [""])[0])
        elif path in self.server.files:
            self._file(path, self.server.files[path])
        else:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _file(self, path: str, data: bytes) -> None:
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(span[1]), min(int(span[2] or len(data)) + 1, len(data))) if span else (0, len(data))
        part = data[start:end]
        more = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"} if span else {}
        self._send(206 if span else 200, part, {"Accept-Ranges": "bytes", **more}, path in self.server.cut)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, is_cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if is_cut else body)
            self.close_connection = self.close_connection or is_cut

    def _listed(self, bucket: str, prefix: str, delimiter: str) -> None:
        rows, folders = [], set()
        for path in sorted(self.server.files):
            name = path.removeprefix(f"{bucket}/")
            if not path.startswith(f"{bucket}/") or not name.startswith(prefix):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                continue
            size = len(self.server.files[path])
            rows.append(f"<Contents><Key>{escape(name)}</Key><Size>{size}</Size><ETag>x</ETag>"
                        "<LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>")  # fmt: skip
        rows += [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)]
        self._send(200, f"<ListBucketResult><Name>{bucket}</Name><KeyCount>{len(rows)}</KeyCount>"
                        f"<IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>".encode())  # fmt: skip


@pytest.fixture
def server() -> Iterator[Files]:
    """A server with two archives, a page, a table, and a picture."""
    files = {"crawl/a.warc.gz": zipped(records(4)), "crawl/sub/b.warc": b"".join(records(6)[4:]),
             "crawl/tea": page_of(prose(20)), "crawl/x.png": b"png"}  # fmt: skip
    with Files(files) as server:
        yield server
        server.shutdown()


def quiet(sources: list[str], out: Path) -> dict[str, object]:
    return build(sources, out, Settings(), say=lambda line: None)


def test_files_are_read_from_the_web(server: Files, tmp_path: Path) -> None:
    base = f"http://{server.place}/crawl"
    made = quiet([f"{base}/a.warc.gz?key=1", f"{base}/tea", f"{base}/sub/b.warc"], tmp_path / "out")
    assert made["n_kept"] == 7 == made["n_read"] and made["n_bytes"] == sum(map(len, server.files.values())) - 3
    assert {page.metadata["archive"] for page in pages_of(tmp_path / "out")} == {
        f"{base}/a.warc.gz?key=1", f"{base}/tea", f"{base}/sub/b.warc"}  # fmt: skip
    with pytest.raises(DataError, match=r"/crawl/none.warc: cannot be read \(\w+: 404, .*Not Found.*\)$"):
        quiet([f"{base}/none.warc"], tmp_path / "none")
    with pytest.raises(DataError, match=r"127.0.0.1:9/a.warc: cannot be read \(\w+: .*\)$"):
        quiet(["http://127.0.0.1:9/a.warc"], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_file_that_breaks_off_leaves_nothing_half_written_and_the_next_build_goes_on(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malmoi.corpus.sources.PART_FILES", 1)
    sources = [f"http://{server.place}/crawl/{name}" for name in ("a.warc.gz", "sub/b.warc")]
    quiet(sources, tmp_path / "whole")
    out = tmp_path / "out"
    whole = server.files["crawl/sub/b.warc"]
    server.cut.add("crawl/sub/b.warc")
    with pytest.raises(DataError, match=r"b.warc: .*; run the same command again"):
        quiet(sources, out)
    server.cut.clear()
    found, _ = find_sources(sources)
    server.files["crawl/sub/b.warc"] = whole[:-7]  # another file than the one that was found
    with monkeypatch.context() as patched, pytest.raises(DataError, match="run the same command again"):
        patched.setattr("malmoi.corpus.build.find_sources", lambda given: (found, {}))
        quiet(sources, out)
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [
        "00000.bands", "00000.dropped", "00000.json", "00000.jsonl", "00000.npz", "plan.json"]  # fmt: skip
    server.files["crawl/sub/b.warc"] = whole
    server.asked.clear()
    quiet(sources, out)
    assert same_files(tmp_path / "whole", out)
    assert server.asked.count("crawl/a.warc.gz") == 1  # how long it is, and no more


def certified(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody else vouches for, in one file."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    made = made.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signed = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path = folder / "server.pem"
    path.write_bytes(key.private_bytes(*form) + signed)
    return path


def test_https_is_read_if_its_certificate_is_known(server: Files, tmp_path: Path) -> None:
    pem = certified(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    command = [sys.executable, "-m", "malmoi", "corpus", "build", f"https://{server.place}/crawl/a.warc.gz", "--out"]
    refused = subprocess.run([*command, str(tmp_path / "no")], capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert "crawl/a.warc.gz: cannot be read" in refused.stderr and "certificate" in refused.stderr.lower()
    assert not (tmp_path / "no" / "plan.json").exists()
    known = {**os.environ, "SSL_CERT_FILE": str(pem)}
    taken = subprocess.run([*command, str(tmp_path / "yes")], capture_output=True, text=True, env=known)
    assert taken.returncode == 0, taken.stderr
    assert len(list(pages_of(tmp_path / "yes"))) == 4


@pytest.fixture
def s3(server: Files, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    pytest.importorskip("s3fs", reason="pip install 'malmoi[remote]'")
    import s3fs

    for name, value in {"AWS_ENDPOINT_URL": f"http://{server.place}", "AWS_ACCESS_KEY_ID": "a", "NO_PROXY": "*",
                        "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield server
    s3fs.S3FileSystem.clear_instance_cache()


def test_objects_folders_and_patterns_of_s3_are_read(s3: Files, tmp_path: Path) -> None:
    found, passed = find_sources(["s3://crawl"])
    assert [one.path for one in found] == ["s3://crawl/a.warc.gz", "s3://crawl/sub/b.warc"]
    assert passed == {"without ending": 1, ".png": 1}
    assert [one.path for one in find_sources(["s3://crawl/*.warc.gz"])[0]] == ["s3://crawl/a.warc.gz"]
    made = quiet(["s3://crawl"], tmp_path / "out")
    assert made["n_kept"] == 6 == made["n_read"]
    assert made["n_bytes"] == sum(len(s3.files[f"crawl/{name}"]) for name in ("a.warc.gz", "sub/b.warc"))
    page = next(iter(pages_of(tmp_path / "out")))
    assert page.metadata["archive"] == "s3://crawl/a.warc.gz" and page.metadata["url"] == "https://example.org/0"


@pytest.mark.parametrize("source", ["s3://crawl/none.warc", "s3://crawl/none/*.warc", "s3://nowhere"])
def test_what_s3_does_not_have_is_said_in_one_line(s3: Files, tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match=rf"^{re.escape(source)}: ") as raised:
        quiet([source], tmp_path / "out")
    assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    if find_spec("gcsfs") is not None:
        pytest.skip("gcsfs is installed")
    with pytest.raises(DataError, match=r"gs://a/b.warc: .*gcsfs"):
        quiet(["gs://a/b.warc"], tmp_path / "out")


def test_what_the_web_has_without_a_known_ending_is_a_page_if_it_is_text(server: Files, tmp_path: Path) -> None:
    base = f"http://{server.place}/crawl"
    server.files["crawl/notes.txt.gz"] = gzip.compress(prose(30).encode())
    server.files["crawl/picture.png"] = b"\x89PNG\r\n\x1a\n\0\0\0\r"
    made = quiet([f"{base}/{name}" for name in ("notes.txt.gz", "picture.png", "tea")], tmp_path / "out")
    assert made["n_kept"] == 1 and made["dropped"] == {
        "read": {"not a format that is read (.gz)": 1, "not a format that is read (.png)": 1}}  # fmt: skip


def test_what_opens_an_address_is_nowhere_in_what_is_built_or_said(
    server: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    from malmoi.cli import app

    def said(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*words])
        assert done.exit_code == code, done.output
        return done.output + done.stderr

    of_page = "https://ann:hunter2@example.org/tea?token=hunter2"
    url = f"WARC-Target-URI: {of_page}".encode()
    server.files["crawl/a.warc.gz"] = zipped(
        [re.sub(rb"WARC-Target-URI: https://example.org/0\b", url, one) for one in records(4)]
    )
    signed = f"http://ann:hunter2@{server.place}/crawl/a.warc.gz?X-Amz-Signature=hunter2&part="
    out = str(tmp_path / "out")
    shown = said("corpus", "build", f"{signed}1", f"{signed}2", "--out", out, "--workers", "1")
    shown += said("corpus", "trace", of_page, out) + said("corpus", "show", out, "--samples")
    plain = "https://example.org/tea?token=REDACTED"
    assert plain in said("corpus", "trace", plain, out)
    shown += said("corpus", "remove", out, "--url", of_page, "--out", f"{out}-2")
    shown += said(
        "corpus", "build", f"http://ann:hunter2@{server.place}/none.warc?sig=hunter2", "--out", f"{out}-3", code=2
    )
    server.cut.add("crawl/a.warc.gz")
    shown += said("corpus", "build", f"{signed}3", "--out", f"{out}-4", code=2)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    kept = b"".join(gzip.decompress(data) if path.suffix == ".gz" else data
                    for path, data in ((path, path.read_bytes()) for path in files))  # fmt: skip
    assert len(files) > 10 and b"X-Amz-Signature=REDACTED" in kept and plain.encode() in kept
    assert "hunter" not in shown and b"hunter" not in kept
    twice, _ = find_sources([f"{signed}2&sig=hunter2", f"{signed}2&sig=hunter3"])
    assert twice[1].name == twice[0].name + "#2" and "hunter2" in twice[0].path
