"""Addresses without what opens them: passwords and signatures are used to read, and never stored, shown or logged."""

import re

HIDDEN = "REDACTED"
_USER = re.compile(r"(?<=://)[^/?#\s\"'<>]*@")
_SECRET = (
    r"x-(?:amz|goog|oss|cos|obs)-(?:signature|credential|security-token)|x-ms-signature|sig|signature|hmac|mac|policy"
    r"|awsaccesskeyid|ossaccesskeyid|googleaccessid|key-pair-id|security-token|sharedaccesssignature|hdne[ats]|hdntl"
    r"|[a-z0-9_-]*(?:token|secret|passw(?:or)?d|pwd|passphrase|api[_-]?key|apikey|access[_-]?key|auth[_-]?key|private[_-]?key)"
    r"|authorization|bearer|jwt|sess(?:ion)?(?:[_-]?id)?|sid|phpsessid|jsessionid|credentials?|otp|pin|passcode|ticket|sas"
)
_PARAMETER = re.compile(rf"(?<=[?&;#])({_SECRET})=[^&;#?\s\"'<>]+", re.I)
_MAYBE = re.compile(r"(?<=[?&;#])(key|code|auth|hash|h|s|t|k|e)=(?=[^&;#\s]*\d)[\w.~%+/-]{20,}", re.I)
"""Names that are secrets only where a long value is written, with digits in it."""


def public(address: str) -> str:
    """An address, or a text with addresses, without user names, passwords, tokens and signatures.

    What is before an @ is left out, and the value of a parameter that is known to be a secret (of S3, Google, Azure,
    CloudFront, Akamai, sessions, keys of APIs) becomes REDACTED: the same page has the same address after it is signed
    again. A path is left as it is.
    """
    if "://" not in address:
        return address
    address = _PARAMETER.sub(rf"\1={HIDDEN}", _USER.sub("", address))
    return _MAYBE.sub(rf"\1={HIDDEN}", address)
