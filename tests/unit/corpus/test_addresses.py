"""Addresses are kept without what opens them."""

import pytest

from malmoi.corpus.addresses import public
from malmoi.corpus.documents import Document


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ann:pa%40ss@example.org/a.warc?x=1", "https://example.org/a.warc?x=1"),
        ("https://ghp_token@example.org/a", "https://example.org/a"),
        ("s3://KEY:SECRET@bucket/a b.warc", "s3://bucket/a b.warc"),
        ("https://b.s3.example/a?X-Amz-Date=20260101&X-Amz-Signature=ab12&X-Amz-Credential=AK%2Fx",
         "https://b.s3.example/a?X-Amz-Date=20260101&X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED"),
        ("https://a.example/b?sv=2022&se=2026&sig=a%2Bb%3D", "https://a.example/b?sv=2022&se=2026&sig=REDACTED"),
        ("https://a.example/b?Expires=1&Signature=x~y&Key-Pair-Id=K1", "https://a.example/b?Expires=1&Signature=REDACTED&Key-Pair-Id=REDACTED"),
        ("https://a.example/p;jsessionid=0A1B?q=tea", "https://a.example/p;jsessionid=REDACTED?q=tea"),
        ("https://a.example/#access_token=ya29.x&state=1", "https://a.example/#access_token=REDACTED&state=1"),
        ("https://a.example/?api_key=1&apiKey=2&refresh_token=3&PASSWORD=4",
         "https://a.example/?api_key=REDACTED&apiKey=REDACTED&refresh_token=REDACTED&PASSWORD=REDACTED"),
        ("https://maps.example/js?key=AIzaSyD3x-abcdefgh_1234567", "https://maps.example/js?key=REDACTED"),
        ("https://a.example/b?key=1&code=tea&page=2", "https://a.example/b?key=1&code=tea&page=2"),
        ("https://a.example/@ann/post?to=a@b.example", "https://a.example/@ann/post?to=a@b.example"),
        ("GET https://u:p@a.example/x failed, https://v@b.example", "GET https://a.example/x failed, https://b.example"),
        ("notes/token=1.txt", "notes/token=1.txt"), ("C:/a@b?sig=1", "C:/a@b?sig=1"),
        ("https://a.example/차?token=비밀&차=우롱", "https://a.example/차?token=REDACTED&차=우롱"),
    ],
)  # fmt: skip
def test_secrets_are_left_out_and_the_rest_stays(address: str, shown: str) -> None:
    assert public(address) == shown == public(shown)


def test_a_document_does_not_keep_the_secrets_of_its_source() -> None:
    one = Document("tea", "https://ann:secret@a.example/tea?token=secret")
    assert one.source == "https://a.example/tea?token=REDACTED"
    assert one.id == Document("tea", "https://bob@a.example/tea?token=other").id
