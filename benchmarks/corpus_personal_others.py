"""Personal data as other people's tests have it: `python -m benchmarks.corpus_personal_others --help`.

validator.js (MIT) lists numbers and addresses that are right, by country; presidio-research (MIT) has sentences with
places for them: together a planted set of which neither values nor sentences are ours. Presidio (MIT) has texts, and
where in them something is; so have DataFog (MIT), PIISA's pii-extract-plg-regex and scrubadub (Apache-2.0), whose
sentences are also filled with values of mimesis (`pip install mimesis`). Needs copies of these
repositories (`git clone`), and `pip install faker`.
"""

import argparse
import ast
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.corpus_steps import wilson
from malmoi.corpus.steps.personal import find_personal

LITERAL = re.compile(r"'((?:[^'\\\n]|\\.)*)'")
OF_TEMPLATE = {
    "isEmail": "email", "isMobilePhone": "phone_number", "isIP": "ip_address", "isIBAN": "iban",
    "isCreditCard": "credit_card_number",
}  # fmt: skip
N_OF_EACH = 150
OF_PRESIDIO = {
    "credit_card": "", "email": "", "iban": "", "ip": "", "tr_phone_number": "phone ", "ph_mobile_number": "phone ",
    "kr_rrn": "", "kr_frn": "", "kr_brn": "", "kr_passport": "passport ", "de_passport": "passport ",
    "es_passport": "passport ", "in_passport": "passport ", "it_passport": "passport ", "uk_passport": "passport ",
    "us_passport": "passport ", "us_bank": "account ",
}  # fmt: skip
"""Tests of Presidio, and what is written before a text that does not say what it is."""


def values_of(source: str) -> dict[str, list[str]]:
    """Validator -> what its tests take for right, of validator.js's `test/validators.test.js` and `isIP.test.js`."""
    found = defaultdict[str, list[str]](list)
    for block in re.split(r"\n {2,4}it\(", source):
        names = set(re.findall(r"validator: '(\w+)'", block))
        if len(names) != 1 or "validator: 'isEmail',\n      args" in block:  # names beside the address, or no dots
            continue
        name = names.pop()
        for part in re.findall(r"(?<!in)valid: \[(.*?)\n\s*\]", block, re.S):
            found[name] += [re.sub(r"\\(.)", r"\1", one) for one in LITERAL.findall(part)]
    return {name: list(dict.fromkeys(values)) for name, values in found.items()}


def filled(template: str, name: str, value: str, rng: random.Random) -> tuple[str, int]:
    """A sentence with a value in it, and where that is; other places are Faker's."""
    from faker import Faker

    fake = Faker("en_US")
    fake.seed_instance(rng.getrandbits(32))
    other = {"person": fake.name, "organization": fake.company, "url": fake.domain_name, "age": lambda: "41"}
    text, at = "", -1
    for number, part in enumerate(re.split(r"\{\{(\w+)\}\}", template.replace("\\n", "\n").replace("\\,", ","))):
        if number % 2 == 0:
            text += part
        elif part == name and at < 0:
            at, text = len(text), text + value
        elif part in (*OF_TEMPLATE.values(), "ssn", "us_driver_license"):
            text += "…"  # it would be found, too, and should be
        else:
            text += str(other.get(part, getattr(fake, part, fake.word))()).replace("\n", ", ")
    return text, at


def planted(validator: Path, research: Path, seed: int) -> Iterator[tuple[str, str, str, int]]:
    """(kind, value, text, where the value is in it)"""
    rng = random.Random(seed)
    values = values_of((validator / "test/validators.test.js").read_text("utf-8"))
    values |= values_of((validator / "test/validators/isIP.test.js").read_text("utf-8"))
    lines = (research / "presidio_evaluator/data_generator/raw_data/templates.txt").read_text("utf-8").splitlines()
    for validator_name, name in OF_TEMPLATE.items():
        templates = [line for line in lines if f"{{{{{name}}}}}" in line]
        chosen = values[validator_name]
        for value in rng.sample(chosen, min(N_OF_EACH * (3 if name == "phone_number" else 1), len(chosen))):
            kind = name if name != "phone_number" else f"{name}, {'+' if value.startswith(('+', '00')) else 'inland'}"
            yield (kind, value, *filled(rng.choice(templates), name, value, rng))
    for value in rng.sample(values["isPassportNumber"], min(N_OF_EACH, len(values["isPassportNumber"]))):
        text = rng.choice(("My passport number is {}.", "Passport No.: {}", "여권번호: {}"))
        yield "passport, named", value, text.format(value), text.index("{}")


def of_presidio(folder: Path) -> Iterator[tuple[str, str, str, int]]:
    for name, word in OF_PRESIDIO.items():
        path = folder / "presidio-analyzer/tests" / f"test_{name}_recognizer.py"
        for text, places in _cases(ast.parse(path.read_text("utf-8"))):
            before = word if word.strip() not in text.lower() else ""
            for start, end in places:
                yield name, text[start:end], before + text, len(before) + start


def _cases(tree: ast.AST) -> Iterator[tuple[str, list[Any]]]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "parametrize" and len(node.args) > 1):
            continue
        for one in getattr(node.args[1], "elts", []):
            try:
                text, _, places = (ast.literal_eval(part) for part in one.elts[:3])
            except (AttributeError, ValueError):
                continue
            if isinstance(text, str) and isinstance(places, tuple | list):
                yield text, [place for place in places if isinstance(place, tuple) and len(place) == 2]


OF_TAGS = {
    "EMAIL": "email", "EMAIL_ADDRESS": "email", "PHONE": "phone", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip", "BANK_ACCOUNT": "account", "IBAN": "account", "PASSPORT": "passport",
}  # fmt: skip


def of_datafog(folder: Path) -> Iterator[tuple[str, str, str, int]]:
    """DataFog (MIT): `tests/corpus/*.json`. A text without any has a place before its beginning."""
    for path in sorted((folder / "tests/corpus").glob("*.json")):
        for one in json.loads(path.read_text("utf-8")):
            found = [(OF_TAGS[it["type"]], it["text"]) for it in one["expected_entities"] if it["type"] in OF_TAGS]
            for kind, value in found:
                yield kind, value, one["input"], one["input"].index(value)
            if not one["expected_entities"]:
                yield "none", "", one["input"], -1


def of_piisa(folder: Path) -> Iterator[tuple[str, str, str, int]]:
    """pii-extract-plg-regex (Apache-2.0): pairs of a text and the same text with <KIND:value>."""
    for path in sorted((folder / "test/unit/B_modules").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TESTCASES"):
                continue
            for pair in getattr(node.value, "elts", []):
                try:
                    text, marked = map(ast.literal_eval, pair.elts[:2])
                except (AttributeError, ValueError):
                    continue
                if isinstance(text, str) and isinstance(marked, str):
                    for tag, value in re.findall(r"<(\w+):([^>]+)>", marked):
                        if tag in OF_TAGS and value in text:
                            yield OF_TAGS[tag], value, text, text.index(value)


def of_scrubadub(folder: Path) -> Iterator[tuple[str, str, str, int]]:
    """scrubadub (Apache-2.0): docstrings with the text BEFORE, and AFTER with {{KIND}}."""
    for path in sorted((folder / "tests").glob("test_detector_*.py")):
        source = path.read_text("utf-8")
        for before, after in re.findall(r"BEFORE: *(.*?)\n *AFTER: *(.*?)\n *(?:\"|\n)", source, re.S):
            tags = re.findall(r"\{\{(\w+?)(?:-\d+)?\}\}", after)
            match = re.fullmatch(re.sub(r"\\\{\\\{\w+?(?:\\-\d+)?\\\}\\\}", "(.+?)", re.escape(after)), before)
            for number, tag in enumerate(tags if match else []):
                if match and tag in OF_TAGS:
                    yield OF_TAGS[tag], match[number + 1], before, match.start(number + 1)


def with_mimesis(rows: list[tuple[str, str, str, int]], n_each: int, seed: int) -> Iterator[tuple[str, str, str, int]]:
    """The same sentences, with values that mimesis makes, of all its languages."""
    from mimesis import Generic
    from mimesis.locales import Locale

    rng, known = random.Random(seed), dict[Any, Any]()
    for kind, value, text, at in rows:
        for _ in range(n_each if kind in ("email", "phone", "card", "ip") else 0):
            locale = rng.choice(list(Locale))
            one = known.setdefault(locale, Generic(locale))
            one.reseed(rng.getrandbits(32))
            made = {
                "email": one.person.email, "phone": one.person.telephone, "card": one.payment.credit_card_number,
                "ip": rng.choice((one.internet.ip_v4, one.internet.ip_v6)),
            }[kind]()  # fmt: skip
            yield f"{kind} of mimesis", made, text[:at] + made + text[at + len(value) :], at


def measure(name: str, rows: list[tuple[str, str, str, int]], n_shown: int) -> None:
    """Recall by kind; and precision: what is found that is not the value."""
    hits, n, missed, n_right, n_wrong = defaultdict[str, int](int), defaultdict[str, int](int), [], 0, list[str]()
    nothing = [text for kind, _, text, _ in rows if kind == "none"]
    rows = [row for row in rows if row[0] != "none"]
    values_in = defaultdict[str, list[tuple[int, int]]](list)
    for _, value, text, at in rows:
        values_in[text].append((at, at + len(value)))
    for kind, value, text, at in rows:
        found = find_personal(text)
        n[kind] += 1
        is_hit = any(start <= at and end >= at + len(value) for start, end, _ in found)
        hits[kind] += is_hit
        missed += [] if is_hit else [f"{kind}: {text}"]
        for start, end, _ in [] if kind.endswith("mimesis") else found:
            right = any(start < b and end > a for a, b in values_in[text])
            n_right += right
            n_wrong += [] if right else [text[start:end]]
    # Where values take the place of others, the rest of a sentence may hold some, too.
    precise = f"; precision {wilson(n_right, n_right + len(n_wrong))}" if n_right else ""
    print(f"{name}: {len(rows)} values, recall {wilson(sum(hits.values()), len(rows))}{precise}; of "
          f"{len(nothing)} texts without any {sum(map(bool, map(find_personal, nothing)))} are taken")  # fmt: skip
    for kind in n:
        print(f"  {kind:<22} {wilson(hits[kind], n[kind])} of {n[kind]}")
    for line in missed[:n_shown]:
        print("    missed", line[:160].replace("\n", " "))
    print("    wrong", n_wrong[:n_shown])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--validator", type=Path, help="a copy of github.com/validatorjs/validator.js")
    parser.add_argument("--research", type=Path, help="a copy of github.com/microsoft/presidio-research")
    parser.add_argument("--presidio", type=Path, help="a copy of github.com/microsoft/presidio")
    parser.add_argument("--datafog", type=Path, help="a copy of github.com/DataFog/datafog-python")
    parser.add_argument("--piisa", type=Path, help="a copy of github.com/piisa/pii-extract-plg-regex")
    parser.add_argument("--scrubadub", type=Path, help="a copy of github.com/LeapBeyond/scrubadub")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="how many of those that are missed to print")
    given = parser.parse_args()
    if given.presidio:
        measure("Presidio's tests", list(of_presidio(given.presidio)), given.show)
    if given.validator and given.research:
        rows = list(planted(given.validator, given.research, given.seed))
        measure("validator.js's values in presidio-research's sentences", rows, given.show)
    if given.datafog and given.piisa and given.scrubadub:
        rows = [*of_datafog(given.datafog), *of_piisa(given.piisa), *of_scrubadub(given.scrubadub)]
        measure("tests of DataFog, PIISA and scrubadub", rows, given.show)
        measure("mimesis's values in their sentences", list(with_mimesis(rows, 5, given.seed)), given.show)
