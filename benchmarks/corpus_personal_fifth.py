"""A fifth planted set of personal data, made after all mending: the values are mimesis's (`pip install mimesis`).

Telephone numbers of people in Korea and America as they are written there, others with a country code, e-mail
addresses, cards, and IP addresses. Nothing of it was looked at before it was measured, and nothing was mended by it.
"""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

R = random.Random
ABROAD = (
    "de",
    "fr",
    "it",
    "nl",
    "sv",
    "pl",
    "en-gb",
    "es",
    "pt",
    "no",
    "da",
    "fi",
    "cs",
    "en-au",
    "ru",
    "uk",
    "tr",
    "hu",
)


@cache
def _of(locale: str) -> Any:
    from mimesis import Generic
    from mimesis.locales import Locale

    return Generic(Locale(locale))


def made(rng: R, *locales: str) -> Any:
    one = _of(rng.choice(locales))
    one.reseed(rng.getrandbits(32))
    return one


def email(rng: R) -> str:
    return str(made(rng, "en", "ko", *ABROAD).person.email())


def korean(rng: R) -> str:
    return rng.choice(("{}|", "전화 {}|")) + str(made(rng, "ko").person.telephone())


def american(rng: R) -> str:
    return rng.choice(("{}|", "phone {}|")) + str(made(rng, "en").person.telephone())


def abroad(rng: R) -> str:
    while True:
        number = str(made(rng, *ABROAD).person.telephone())
        if number.startswith("+"):
            return number


def card(rng: R) -> str:
    return str(made(rng, "en").payment.credit_card_number())


def ip(rng: R) -> str:
    internet = made(rng, "en").internet
    return str(rng.choice((internet.ip_v4, internet.ip_v6))())


KINDS: dict[str, Callable[[R], str]] = {
    "e-mail": email, "Korean number": korean, "American number": american, "number abroad": abroad, "card": card,
    "IP": ip,
}  # fmt: skip
NONE: tuple[Callable[[R], str], ...] = (
    lambda rng: str(made(rng, "en").code.isbn()),
    lambda rng: str(made(rng, "en").code.issn()),
    lambda rng: str(made(rng, "en").code.ean()),
    lambda rng: str(made(rng, "en").code.imei()),
    lambda rng: str(made(rng, "en").cryptographic.uuid()),
    lambda rng: str(made(rng, "en").cryptographic.hash()),
    lambda rng: str(made(rng, "en").internet.mac_address()),
    lambda rng: str(made(rng, "en").internet.user_agent()),
    lambda rng: str(made(rng, "en").development.version()),
    lambda rng: str(made(rng, "en", "ko").address.postal_code()),
    lambda rng: str(made(rng, "en").address.coordinates()["longitude"]),
    lambda rng: str(made(rng, "en").datetime.datetime()),
    lambda rng: str(made(rng, "en", "ko").finance.price()),
    lambda rng: str(made(rng, "en", "ko").address.address()),
)


def carriers() -> list[str]:
    """Sentences of mimesis, with a place for a value between them."""
    rng = random.Random(5)
    said = [f"{made(rng, name).text.sentence()}|{made(rng, name).text.sentence()}" for name in ("en", "ko") * 10]
    return [one.replace("{", "(").replace("}", ")").replace("|", " {} ", 1) for one in said]
