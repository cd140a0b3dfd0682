"""English: which word of a simple statement is its verb, and what that verb's base form is."""

from typing import NamedTuple

AUXILIARIES = frozenset(
    "is are was were will can may must should could would might shall has have had does do did".split()
)
_MODAL = frozenset("will can may must should could would might shall".split())
_BE = frozenset(("is", "are", "was", "were"))
_HAVE = frozenset(("has", "have", "had"))
# base, past (the same as the participle unless given as past/participle)
_IRREGULAR = """be was/been begin began/begun break broke/broken bring brought build built buy bought catch caught
choose chose/chosen come came/come cost cost cut cut deal dealt draw drew/drawn drink drank/drunk drive drove/driven
eat ate/eaten fall fell/fallen feed fed feel felt fight fought find found fly flew/flown forget forgot/forgotten
freeze froze/frozen get got give gave/given go went/gone grow grew/grown hang hung have had hear heard hide hid/hidden
hit hit hold held keep kept know knew/known lay laid lead led learn learned leave left lend lent let let lie lay/lain
lose lost make made mean meant meet met pay paid put put read read ride rode/ridden ring rang/rung rise rose/risen
run ran/run say said see saw/seen sell sold send sent set set show showed/shown shut shut sing sang/sung sit sat
sleep slept speak spoke/spoken spend spent split split spread spread stand stood steal stole/stolen stick stuck
swim swam/swum take took/taken teach taught tell told think thought throw threw/thrown understand understood
wake woke/woken wear wore/worn win won write wrote/written"""
_REGULAR = """accept add adopt agree allow announce answer appear apply approve arrive ask attend bake beat belong boil
book borrow call carry celebrate change charge check clean climb close collect compose connect consist contain cook
copy count cover create cross decide deliver depart depend describe design develop die discover discuss earn elect end
enjoy enter establish exist expire explain explore feature fill finish fix follow form found fry happen hate help hire
hope include install introduce invent invite join jump kill land last launch lift like list live load look love manage
mark marry measure melt mix move name need note occur offer open order organise organize own pack paint park pass phone
pick plan plant play pour prefer prepare present produce promise protect prove provide publish pull push reach receive
record reduce release remain remove rent repair replace report request require rest retire return reveal serve share
sign start stay stir stop store study suggest supply support talk teach test touch train travel try turn use visit
vote wait walk want warm wash watch weigh whisk work worry"""
_PERSON_VERBS = frozenset(
    """agree announce answer ask attend bake become book borrow bring build buy call carry celebrate choose clean
        collect compose cook count decide deliver design direct discover discuss draw drive earn eat explain fix
        hire invent invite join know lead lend like love make manage marry meet offer order organise organize own
        paint pay phone pick plan plant play prepare present promise publish read receive repair rent say sell
        send sign sing speak stir study suggest take teach tell think travel try use visit wait walk want wash
        watch write""".split()
)


class Form(NamedTuple):
    """A form of a verb. tense: base, present (he …s), or past"""

    base: str
    tense: str


def _third(base: str) -> str:
    if base == "have":
        return "has"
    if base.endswith(("s", "x", "z", "ch", "sh", "o")):
        return base + "es"
    return base[:-1] + "ies" if base.endswith("y") and base[-2] not in "aeiou" else base + "s"


def _past(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    doubled = base in ("stop", "plan", "stir", "prefer", "occur")
    return base + (base[-1] if doubled else "") + "ed"


def _all_forms() -> tuple[dict[str, Form], frozenset[str]]:
    forms: dict[str, Form] = {}
    participles = {"been", "located", "situated", "based", "born"}
    words = _IRREGULAR.split()
    pairs = list(zip(words[::2], words[1::2], strict=True)) + [(base, _past(base)) for base in _REGULAR.split()]
    for base, past in pairs:
        if base == "be":
            continue
        before, _, participle = past.partition("/")
        participles.add(participle or before)
        forms.setdefault(before, Form(base, "past"))
        forms[_third(base)] = Form(base, "present")
    for base, _ in pairs:
        forms[base] = Form(base, "base")
    forms["took"], forms["found"], forms["lay"] = Form("take", "past"), Form("find", "past"), Form("lie", "past")
    return forms, frozenset(participles)


FORMS, PARTICIPLES = _all_forms()
_UNCHANGED = frozenset(
    base for base, past in zip(_IRREGULAR.split()[::2], _IRREGULAR.split()[1::2], strict=True) if base == past
)
_DETERMINERS = frozenset(
    "the a an our their his her its my your each every all some this that these those no any both".split()
)
_PREPOSITIONS_IN_NOUNS = frozenset(("of", "for", "in", "to", "on", "at", "from", "with"))
_PLURALS = frozenset("people children men women police we you they i members".split())
_PRONOUNS = frozenset(
    """it they he she this that these those there here i me him them what who which when where why how everyone
        someone nobody everybody somebody one ones another others nothing something everything all some none such
        both many most few""".split()
)
_DANGLING = frozenset(("his", "her", "its", "their", "this", "that", "these", "those", "such", "another"))
_SUBORDINATE = frozenset(
    """if when while after before because although though as since unless until once whereas so but and or yet
        however also then thus therefore instead moreover furthermore meanwhile first finally please let""".split()
)
_NO_SUBJECT = frozenset("that which who whose whom because if when while where although but then".split())


class Clause(NamedTuple):
    """A simple statement: "The club" + "has" + "36 members".

    auxiliary: asked first, such as "is", "will", "does"; after: what follows the subject in a question
    verb: the base of the main verb, if there is one; statement: subject and verb as they are written
    """

    subject: str
    auxiliary: str
    after: str
    verb: str
    rest: str
    written: str

    @property
    def is_copula(self) -> bool:
        return self.auxiliary in _BE and not self.verb


def parse(words: list[str]) -> Clause | None:
    """The clause that a list of words is; None where the verb is not plain."""
    if len(words) < 3 or words[0].lower() in _SUBORDINATE or words[0].lower() in _PRONOUNS:
        return None
    for place in range(1, min(len(words) - 1, 9)):
        word, subject = words[place], words[:place]
        if word.lower() in _NO_SUBJECT or word.endswith(","):
            return None
        if word in AUXILIARIES:
            if subject[0].lower() in _DANGLING:
                return None
            return _with_auxiliary(subject, word, words[place + 1 :])
        form = FORMS.get(word)
        if (
            form is None
            or subject[0].lower() in _DANGLING
            or not _is_subject(subject)
            or words[place + 1] in AUXILIARIES
        ):
            continue
        if form.tense == "base" and not is_plural(subject):
            if word not in _UNCHANGED:
                continue
            form = Form(form.base, "past")
        if form.tense == "present" and is_plural(subject):
            continue
        auxiliary = {"base": "do", "present": "does", "past": "did"}[form.tense]
        return _clause(subject, auxiliary, form.base, word, words[place + 1 :], form.base)
    return None


def _with_auxiliary(subject: list[str], word: str, rest: list[str]) -> Clause | None:
    if not _is_subject(subject) or not rest:
        return None
    if (
        word in _HAVE
        and rest[0] not in PARTICIPLES
        and not rest[0].endswith("ed")
        and rest[0] not in ("also", "already")
    ):
        auxiliary = {"has": "does", "have": "do", "had": "did"}[word]
        return _clause(subject, auxiliary, "have", word, rest, "have")
    if word in _MODAL | {"does", "do", "did"} or word in _HAVE:
        main = next((one for one in rest[:2] if one in FORMS), "")
        return _clause(subject, word, "", word, rest, FORMS[main].base if main else rest[0])
    rest = rest[1:] if rest[0].endswith("ly") and len(rest) > 1 else rest
    is_passive = rest[0] in PARTICIPLES or rest[0].endswith("ed")
    return _clause(subject, word, "", word, rest, rest[0] if is_passive else "")


def _clause(subject: list[str], auxiliary: str, after: str, word: str, rest: list[str], verb: str) -> Clause:
    shown = " ".join(subject)
    first = shown.split()[0]
    if first.lower() in _DETERMINERS | {"we", "you", "students", "members", "customers"} or (
        first[1:].islower() and first.lower() in _COMMON
    ):
        shown = shown[0].lower() + shown[1:]
    return Clause(shown, auxiliary, after, verb, " ".join(rest), f"{shown} {word}")


def _is_subject(words: list[str]) -> bool:
    last = words[-1].lower()
    if last in _DETERMINERS | _PREPOSITIONS_IN_NOUNS or last in ("and", "or", "also", "not") or last.endswith("ly"):
        return False
    if any("," in word for word in words) or len(words) > 8:
        return False
    return not any(
        word.lower() in _PRONOUNS - {"one", "all", "both", "some", "many", "most"} for word in words
    ) or last in ("we", "you")


def is_plural(subject: list[str]) -> bool:
    """Whether a subject takes a verb without -s."""
    head = subject
    for place, word in enumerate(subject):
        if place and word in _PREPOSITIONS_IN_NOUNS:
            head = subject[:place]
            break
    last = head[-1].lower()
    return "and" in head or last in _PLURALS or (last.endswith("s") and not last.endswith(("ss", "us", "is", "'s")))


def is_person_verb(base: str) -> bool:
    """Whether mostly people do this."""
    return base in _PERSON_VERBS


# Words that begin sentences, and are written small inside a question.
_COMMON = frozenset(
    """tickets members students customers visitors guests children people boards phones breakfast lunch dinner
        membership parking entry admission leftover lost spare check-in checkout payment payments books doors pets
        dogs smoking orders deliveries refunds rooms players teams new old most parts water""".split()
)
