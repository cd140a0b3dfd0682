"""Questions as people type them: in capitals, without a question mark, with a typing error, with backticks."""

import random
import re

FORMS = ("upper", "lower", "no mark", "typing error", "called", "quoted", "all upper")


def typed(prompt: str, name: str, form: str, rng: random.Random) -> str:
    """A question about `name` in one of the forms; unchanged if the form changes nothing."""
    if form == "upper":
        return prompt.replace(name, name.upper())
    if form == "all upper":
        return prompt.upper()
    if form == "lower":
        return prompt.lower()
    if form == "no mark":
        return re.sub(r"[?.!]+$", "", prompt)
    if form == "called":
        return prompt.replace(name, f"{name}()")
    if form == "quoted":
        return prompt.replace(name, f"`{name}`")
    return prompt.replace(name, misspelt(name, rng))


def misspelt(name: str, rng: random.Random) -> str:
    """A name with two letters swapped, one left out or one doubled; short names stay as they are."""
    places = [n for n in range(1, len(name) - 1) if name[n].isalpha() and name[n + 1].isalpha()]
    if len(name) < 5 or not places:
        return name
    n = rng.choice(places)
    return rng.choice(
        [name[:n] + name[n + 1] + name[n] + name[n + 2 :], name[:n] + name[n + 1 :], name[: n + 1] + name[n:]]
    )
