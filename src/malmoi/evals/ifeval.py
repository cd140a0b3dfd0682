"""IFEval: instructions that a program can check (Zhou et al. 2023, arXiv:2311.07911).

The checks follow the paper. Its authors find sentences with NLTK and languages with langdetect; here punctuation, and
script and function words, serve instead.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from malmoi.errors import DataError
from malmoi.evals.answering import Subject, answer_greedily, chat_prompts
from malmoi.evals.interval import bootstrap

MAX_TOKENS = 1280
ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
# Words with a period that does not end a sentence; so do list numbers and initials.
_SHORT = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|e\.g|i\.e|no|fig|approx|inc|ltd|co|[a-z])|^\s*\d+)\.$", re.I | re.M
)
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]*]*(?=\s|$)")
_WORD = re.compile(r"\w+")
# Function words of each language; a script with one language needs none. Each script's first language is the fallback
# when no function word matches.
LANGUAGES: dict[str, dict[str, str]] = {
    "LATIN": {
        "en": "the of and to in is that it for you with are this be was",
        "de": "der die das und ist nicht ein eine zu den mit von für auf sich",
        "fr": "le la les et est des un une que dans pour qui pas au du",
        "es": "el la los y es que en un una por con para del las se",
        "it": "il di che è e la per un una non con sono gli della in",
        "pt": "o a os e é que em um uma por com para não do da",
        "fi": "ja on ei se että hän oli mutta ovat kun myös tai sen olla joka",
        "sw": "ya na wa kwa ni katika za la kuwa hii cha yake hiyo kama au",
        "vi": "là của và có không được cho một những trong với các để này người",
    },
    "CYRILLIC": {
        "ru": "и в не на что с как это по для быть он но я вы",
        "bg": "и на да се е за от с са не в че по като ще",
    },
    "ARABIC": {
        "ar": "في من على إلى أن هذا التي الذي مع هو كان عن ما لا هذه",
        "ur": "کے میں کی ہے اور سے کو کا نے پر ہیں یہ ایک بھی نہیں",
        "fa": "و در به از که این را با است برای آن یک خود تا بر",
    },
    "DEVANAGARI": {
        "hi": "के में है की और से का को पर यह ने हैं एक भी नहीं",
        "mr": "आहे आणि आहेत हे या च्या मध्ये एक ते ही नाही साठी होते करण्यासाठी तो",
        "ne": "छ र को मा छन् यो पनि हो गर्न लागि भएको एक गर्नुहोस् तपाईं हुन्छ",
    },
    "HANGUL": {"ko": ""}, "HIRAGANA": {"ja": ""}, "KATAKANA": {"ja": ""}, "CJK": {"zh": ""}, "GUJARATI": {"gu": ""},
    "GURMUKHI": {"pa": ""}, "TELUGU": {"te": ""}, "KANNADA": {"kn": ""}, "TAMIL": {"ta": ""}, "BENGALI": {"bn": ""},
    "THAI": {"th": ""}, "GREEK": {"el": ""}, "HEBREW": {"he": ""}, "MALAYALAM": {"ml": ""},
}  # fmt: skip


class InstructionPrompt(NamedTuple):
    """A prompt, and the name and arguments of each of its instructions."""

    prompt: str
    instructions: Sequence[tuple[str, Mapping[str, Any]]]


def measure_instructions(subject: Subject, rows: Sequence[InstructionPrompt]) -> dict[str, Any]:
    """Shares of instructions that are followed, and of prompts with all instructions followed, strictly and loosely."""
    for row in rows:
        for name, given in row.instructions:
            if name not in CHECKS or (given.get("language") or "en") not in _KNOWN:
                raise DataError(f"ifeval: no check for {name} {given.get('language') or ''}".strip())
    asked, n_cut = chat_prompts(subject, [row.prompt for row in rows], MAX_TOKENS)
    answers = answer_greedily(subject, asked, MAX_TOKENS)
    values: dict[str, list[float]] = {}
    owners = [number for number, row in enumerate(rows) for _ in row.instructions]
    for kind, follows in (("strict", follows_strictly), ("loose", follows_loosely)):
        found = [
            [follows(name, given, a) for name, given in row.instructions] for row, a in zip(rows, answers, strict=True)
        ]
        values[f"prompt_{kind}"] = [float(all(one)) for one in found]
        values[f"instruction_{kind}"] = [float(value) for one in found for value in one]
    return {
        "metrics": {
            name: bootstrap(v, owners if name.startswith("instruction") else None).to_row()
            for name, v in values.items()
        },
        "chance": {},
        "n": len(rows),
        "n_cut": n_cut,
    }


def follows_strictly(name: str, given: Mapping[str, Any], answer: str) -> bool:
    """Whether an answer follows the instruction. given: its arguments; a missing one is None"""
    return bool(answer.strip()) and CHECKS[name](answer, given)


def follows_loosely(name: str, given: Mapping[str, Any], answer: str) -> bool:
    """Whether the answer follows the instruction, or would without its first line, last line, both, or asterisks."""
    lines = answer.split("\n")
    cut = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return any(follows_strictly(name, given, text) for text in (*cut, *(one.replace("*", "") for one in cut)))


def language_of(text: str) -> str | None:
    """The language of a text by its script, then by function words; None if no letter is of a known script."""
    scripts = Counter(unicodedata.name(c, "").split(" ")[0] for c in text if c.isalpha())
    known = [script for script, _ in scripts.most_common() if script in LANGUAGES]
    if not known:
        return None
    words = Counter(text.casefold().split())
    scores = {
        name: sum(words[word] for word in function_words.split())
        for name, function_words in LANGUAGES[known[0]].items()
    }
    return max(scores, key=lambda name: scores[name])


def count_sentences(text: str) -> int:
    """The number of sentences: parts that end in . ! ? or …, and a last part without an end."""
    ends = [end.end() for end in _SENTENCE_END.finditer(text) if not _SHORT.search(text[: end.end()])]
    return len(ends) + bool(text[ends[-1] if ends else 0 :].strip())


def _holds(count: int, relation: str, wanted: int) -> bool:
    return count < wanted if relation == "less than" else count >= wanted


def _parts(text: str, separator: str) -> list[str] | None:
    """Parts between the separators, without an empty first or last part; None if another part is empty."""
    parts = [part.strip() for part in re.split(separator, text)]
    parts = parts[not parts[0] : len(parts) - (len(parts) > 1 and not parts[-1])]
    return parts if all(parts) else None


def _is_json(text: str) -> bool:
    text = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.I).strip()
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _starts_paragraph(text: str, given: Mapping[str, Any]) -> bool:
    paragraphs = text.split("\n\n")
    n, number = sum(bool(part.strip()) for part in paragraphs), given["nth_paragraph"]
    if n != given["num_paragraphs"] or number > len(paragraphs) or not paragraphs[number - 1].strip():
        return False
    first = paragraphs[number - 1].split()[0].lstrip("'\"")
    return re.split(r"[.,?!'\"]", first)[0].casefold() == given["first_word"].casefold()


def _is_two(text: str) -> bool:
    parts = _parts(text, r"\*{6}")
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


def _postscript(marker: str) -> str:
    """A pattern of the marker's letters, with or without spaces between them."""
    return r"\s?".join(re.escape(part) for part in re.findall(r"[^.\s]\.?", marker.casefold()))


def _n_highlights(text: str) -> int:
    found = re.findall(r"\*\*([^\n*]+)\*\*|\*([^\n*]+)\*", text)
    return sum(any(part.strip() for part in parts) for parts in found)


def _upper_words(text: str) -> int:
    return sum(word.isupper() for word in re.findall(r"\w+(?:-\w+)*", text))


CHECKS: dict[str, Callable[[str, Mapping[str, Any]], bool]] = {
    "keywords:existence": lambda text, g: all(word.casefold() in text.casefold() for word in g["keywords"]),
    "keywords:frequency": lambda text, g: _holds(
        text.casefold().count(g["keyword"].casefold()), g["relation"], g["frequency"]
    ),
    "keywords:forbidden_words": lambda text, g: (
        not any(re.search(rf"\b{re.escape(word)}\b", text, re.I) for word in g["forbidden_words"])
    ),
    "keywords:letter_frequency": lambda text, g: _holds(
        text.lower().count(g["letter"].lower()), g["let_relation"], g["let_frequency"]
    ),
    "language:response_language": lambda text, g: language_of(text) in (g["language"], None),
    "length_constraints:number_sentences": lambda text, g: _holds(
        count_sentences(text), g["relation"], g["num_sentences"]
    ),
    "length_constraints:number_paragraphs": lambda text, g: (
        len(_parts(text, r"\s?\*\*\*\s?") or ()) == g["num_paragraphs"]
    ),
    "length_constraints:number_words": lambda text, g: _holds(len(_WORD.findall(text)), g["relation"], g["num_words"]),
    "length_constraints:nth_paragraph_first_word": _starts_paragraph,
    "detectable_content:number_placeholders": lambda text, g: (
        len(re.findall(r"\[.*?\]", text)) >= g["num_placeholders"]
    ),
    "detectable_content:postscript": lambda text, g: bool(
        re.search(_postscript(g["postscript_marker"]), text.casefold())
    ),
    "detectable_format:number_bullet_lists": lambda text, g: (
        len(re.findall(r"^\s*(?:\*[^*]|-).*$", text, re.M)) == g["num_bullets"]
    ),
    "detectable_format:constrained_response": lambda text, g: any(answer in text for answer in ANSWERS),
    "detectable_format:number_highlighted_sections": lambda text, g: _n_highlights(text) >= g["num_highlights"],
    "detectable_format:multiple_sections": lambda text, g: (
        len(re.findall(rf"\s?{re.escape(g['section_spliter'])}\s?\d+\s?", text)) >= g["num_sections"]
    ),
    "detectable_format:json_format": lambda text, g: _is_json(text),
    "detectable_format:title": lambda text, g: any(title.strip("<> ") for title in re.findall(r"<<([^\n]+)>>", text)),
    "combination:two_responses": lambda text, g: _is_two(text),
    "combination:repeat_prompt": lambda text, g: (
        text.strip().casefold().startswith(g["prompt_to_repeat"].strip().casefold())
    ),
    "startend:end_checker": lambda text, g: (
        text.strip().strip('"').casefold().endswith(g["end_phrase"].strip().casefold())
    ),
    "startend:quotation": lambda text, g: len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"',
    "change_case:capital_word_frequency": lambda text, g: _holds(
        _upper_words(text), g["capital_relation"], g["capital_frequency"]
    ),
    "change_case:english_capital": lambda text, g: text.isupper() and language_of(text) in ("en", None),
    "change_case:english_lowercase": lambda text, g: text.islower() and language_of(text) in ("en", None),
    "punctuation:no_comma": lambda text, g: "," not in text,
}
_KNOWN = frozenset(name for languages in LANGUAGES.values() for name in languages)
