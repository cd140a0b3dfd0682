"""A fourth planted set of personal data, by other people: the values are those of Faker (`pip install faker`).

Nothing of it was looked at before it was first measured; what was missed was mended then, where it has a rule.
Telephone numbers abroad are those that Faker writes with a country code; others cannot be told from other numbers.
"""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

R = random.Random
EUROPE = ("de_DE", "fr_FR", "it_IT", "nl_NL", "sv_SE", "pl_PL", "en_GB", "es_ES", "pt_PT", "no_NO")


@cache
def _of(locale: str) -> Any:
    from faker import Faker

    return Faker(locale)


def fake(rng: R, *locales: str) -> Any:
    made = _of(rng.choice(locales))
    made.seed_instance(rng.getrandbits(32))
    return made


def email(rng: R) -> str:
    made = fake(rng, "en_US", "ko_KR", "ja_JP", *EUROPE)
    return str(rng.choice((made.email, made.company_email, made.free_email))())


def korean(rng: R) -> str:
    return rng.choice(("{}|", "연락처 {}|", "전화번호: {}|")) + str(fake(rng, "ko_KR").phone_number())


def american(rng: R) -> str:
    return rng.choice(("{}|", "phone: {}|")) + str(fake(rng, "en_US").phone_number())


def abroad(rng: R) -> str:
    while True:
        number = str(fake(rng, *EUROPE).phone_number())
        if number.startswith("+"):
            return number


def card(rng: R) -> str:
    number = str(fake(rng, "en_US").credit_card_number())
    return rng.choice((number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))))


def resident(rng: R) -> str:
    return str(fake(rng, "ko_KR").ssn())


def ip(rng: R) -> str:
    made = fake(rng, "en_US")
    return str(made.ipv6() if rng.random() < 0.5 else made.ipv4_public())


def iban(rng: R) -> str:
    return str(fake(rng, *EUROPE).iban())


def passport(rng: R) -> str:
    return rng.choice(("passport number {}|", "여권번호 {}|")) + str(fake(rng, "en_US").passport_number())


KINDS: dict[str, Callable[[R], str]] = {
    "e-mail": email, "Korean number": korean, "American number": american, "number abroad": abroad, "card": card,
    "resident number": resident, "IP": ip, "IBAN": iban, "passport": passport,
}  # fmt: skip
NONE: tuple[Callable[[R], str], ...] = tuple(
    lambda rng, name=name: str(getattr(fake(rng, "en_US", "ko_KR"), name)())  # type: ignore[misc]
    for name in (
        "ean13", "isbn13", "isbn10", "date", "time", "iso8601", "uuid4", "mac_address", "sha1", "license_plate",
        "postcode", "address", "user_agent", "hex_color", "url", "company", "name", "job",
        "paragraph", "file_path", "coordinate",
    )
)  # fmt: skip


def carriers() -> list[str]:
    """Sentences of Faker, with a place for a value between them."""
    rng = random.Random(4)
    return [f"{fake(rng, name).sentence()} {{}} {fake(rng, name).sentence()}" for name in ("en_US", "ko_KR") * 10]
