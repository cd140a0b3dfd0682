"""What is trained on begins where the generation prompt ends, for whichever template and answer."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from malmoi.data.comparisons import demonstration, ranking_ids
from malmoi.formats.folder import load_text
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from tests.golden.small_families import (
    CHATML_TOKENS,
    MAKERS,
    QWEN,
    THINK,
    Family,
    byte_level,
    conversation,
    spoken,
)

pytestmark = pytest.mark.filterwarnings("default:::transformers.*")

EMPTY_THOUGHT = """
{%- set ns = namespace(last=-1) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {%- set thought, content = '', message.content -%}
        {%- if '</think>' in content -%}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') -%}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') -%}
        {%- endif -%}
        {{- '<|im_start|>assistant\\n' -}}
        {%- if loop.index0 > ns.last and (loop.last or thought) -%}
            {{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') -}}
        {%- else -%}{{- content -}}{%- endif -%}
        {{- '<|im_end|>\\n' -}}
    {%- else -%}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
SWITCHED = """
{%- set mode = '/think' -%}
{%- if messages[0].role == 'system' -%}
    {%- set system = messages[0].content -%}
    {%- if '/no_think' in system -%}{%- set mode = '/no_think' -%}{%- endif -%}
    {%- set told = system.replace('/no_think', '').replace('/think', '').rstrip() -%}
{%- else -%}{%- set told = 'You are a small model.' -%}{%- endif -%}
{{- '<|im_start|>system\\nReasoning Mode: ' + mode + '\\n\\n' + told + '<|im_end|>\\n' -}}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else '' -%}
    {%- if message.role == 'user' -%}
        {{- '<|im_start|>user\\n' + content + '<|im_end|>\\n' -}}
    {%- elif message.role == 'assistant' -%}
        {%- generation -%}
        {%- if mode == '/think' -%}{{- '<|im_start|>assistant\\n' + content.lstrip('\\n') + '<|im_end|>\\n' -}}
        {%- else -%}{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n' + content.lstrip('\\n') + '<|im_end|>\\n' -}}
        {%- endif -%}
        {%- endgeneration -%}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {%- if mode == '/think' -%}{{- '<|im_start|>assistant\\n' -}}
    {%- else -%}{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n' -}}{%- endif -%}
{%- endif -%}
"""
SPLIT = """
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {%- set content = message.content -%}
        {%- if '</think>' in content -%}{%- set content = content.split('</think>')[-1] -%}{%- endif -%}
        {{- '<|Assistant|>' + content + '<|end_of_sentence|>' -}}
    {%- else -%}{{- ('<|User|>' if message.role == 'user' else '') + message.content -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|Assistant|><think>\\n' -}}{%- endif -%}
"""
SPLIT_TOKENS = ("<|end_of_sentence|>", "<|User|>", "<|Assistant|>")
KINDS = {
    **MAKERS,
    "empty thought": lambda: Family(byte_level(*CHATML_TOKENS, plain=THINK), QWEN, EMPTY_THOUGHT, "<|im_end|>"),
    "switched": lambda: Family(byte_level(*CHATML_TOKENS, plain=THINK), QWEN, SWITCHED, "<|im_end|>"),
    "split": lambda: Family(
        byte_level(*SPLIT_TOKENS, plain=THINK), {"eos_token": "<|end_of_sentence|>"}, SPLIT, "<|end_of_sentence|>"
    ),
}
# The first writes an empty thought into its prompt and not into its answers, the second the beginning of one.
NOT_CONTINUED = {"qwen3", "split"}
FIRST = ("7", " ", "말", "👩‍👩‍👧", "\n", "\n\n", "", "s>", "cat", "</think>", "<", "é", "\t ")
WORDS = ("cat", "The", "12", "말모이", " ", "\n", ".", "👍", "<b>", "[/INST]", "/no_think", "<think>", "</think>\n")


def texts(rng: random.Random, first: Sequence[str] = WORDS) -> str:
    return rng.choice(first) + "".join(rng.choice(WORDS) for _ in range(rng.randrange(6))) + rng.choice(["", "x"])


def conversations(seed: int) -> list[list[dict[str, str]]]:
    """150 conversations that end with an answer; every answer may begin with anything."""
    rng, made = random.Random(seed), []
    for _ in range(150):
        system = rng.choice([None, "Be brief.", "말을 아껴라. /no_think"])
        n_turns = 2 * rng.randrange(1, 4)
        made.append(conversation(system, [texts(rng, FIRST if i % 2 else WORDS) for i in range(n_turns)]))
    return made


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[str, Tokenizer, ChatTemplate]:
    family = KINDS[request.param]()
    return request.param, family.ours(), ChatTemplate(family.source())


def test_an_answered_conversation_begins_with_its_prompt_and_the_next_token_is_trained_on(
    kind: tuple[str, Tokenizer, ChatTemplate],
) -> None:
    name, tokenizer, template = kind
    for messages in conversations(1):
        prompt, _ = template.encode(tokenizer, messages[:-1], add_generation_prompt=True)
        ids, trained = template.encode(tokenizer, messages)
        if ids[: len(prompt)] == prompt:
            assert trained[len(prompt)] and trained[len(prompt) - 1] is False
        else:
            # Mistral's kind says the system's words only in the last turn of the user.
            assert name in NOT_CONTINUED or (name.startswith("mistral") and messages[0]["role"] == "system")


def test_rewards_are_read_where_a_policy_is_paid(kind: tuple[str, Tokenizer, ChatTemplate]) -> None:
    """The prompt's ids, then the answer's, then the end of its turn, as PPO puts them together."""
    _, tokenizer, template = kind
    for messages in conversations(2):
        prompt, _ = template.encode(tokenizer, messages[:-1], add_generation_prompt=True)
        ids = ranking_ids(tokenizer, template, messages[:-1], [messages[-1]["content"]])[0]
        assert ids[: len(prompt)] == prompt and ids[-1] == tokenizer.end_of_turn_id


@pytest.mark.parametrize("name", KINDS)
def test_the_ids_are_those_of_transformers_where_templates_look_into_what_is_said(name: str) -> None:
    family = KINDS[name]()
    ours, theirs, source = family.ours(), family.theirs(), family.source()
    for messages in conversations(3):
        # Structure that the user types is text here.
        for message in messages[:-1]:
            if message["role"] != "assistant":
                message["content"] = message["content"].replace("<think>", "").replace("</think>", "") + "."
        expected = theirs.apply_chat_template(messages, chat_template=source, return_dict=False)
        assert theirs.decode(ChatTemplate(source).encode(ours, messages)[0]) == theirs.decode(expected)


def test_an_empty_thought_is_learned_with_its_answer() -> None:
    """Else a model answers where the template would have it think."""
    family = KINDS["empty thought"]()
    tokenizer, template = family.ours(), ChatTemplate(family.source())
    ids, trained = template.encode(tokenizer, conversation(None, ["Where?", "On the mat."]))
    assert spoken(tokenizer, ids, trained) == "<think>\n\n</think>\n\nOn the mat.<|im_end|>"


def test_an_answer_that_was_written_otherwise_when_it_was_the_last_has_a_row_of_its_own() -> None:
    family = KINDS["empty thought"]()
    tokenizer, template = family.ours(), ChatTemplate(family.source())
    messages = conversation(None, ["Where?", "On the mat.", "And the dog?", "On the log."])
    first, last = template.training_rows(tokenizer, messages)
    assert spoken(tokenizer, *first) == "<think>\n\n</think>\n\nOn the mat.<|im_end|>"
    assert spoken(tokenizer, *last) == "<think>\n\n</think>\n\nOn the log.<|im_end|>"
    assert first[0] == template.encode(tokenizer, messages[:2])[0]
    assert last[0] == template.encode(tokenizer, messages)[0]
    # Whoever asks once more and gets no answer does not take the thought from the last one.
    _, again, whole = template.training_rows(tokenizer, [*messages, {"role": "user", "content": "And you?"}])
    assert again == last and not any(whole[1])


def test_answers_that_are_always_written_alike_share_a_row(kind: tuple[str, Tokenizer, ChatTemplate]) -> None:
    name, tokenizer, template = kind
    messages = conversation(None, ["Where?", "On the mat.", "And the dog?", "On the log."])
    rows = template.training_rows(tokenizer, messages)
    assert len(rows) == (2 if name == "empty thought" else 1)
    if len(rows) == 1:
        assert rows == [template.encode(tokenizer, messages)]


def test_a_template_whose_answers_do_not_begin_with_its_prompt_is_known(
    kind: tuple[str, Tokenizer, ChatTemplate],
) -> None:
    name, tokenizer, template = kind
    assert template.is_continued(tokenizer) == (name not in NOT_CONTINUED)


LOOKING = {
    "length": "{{ said | length }} {{ said[:3] }} {{ said | trim }}",
    "asks": "{{ said.startswith('cat') }}{{ said == 'cat' }}{{ 'a' < said }}",
    "json": "{{ messages | tojson }}{{ said | tojson(ensure_ascii=true) }}",
    "none": "{{ tools is none }}{{ documents is none }}{{ tools is defined }}{{ date is defined }}",
    "changes": "{{ said | upper }}{{ said.title() }}{{ said | capitalize }}",
    "joins": "{{ messages | map(attribute='content') | join('|') }}{{ said ~ 1 }}{{ '%s!' % said }}",
    "cuts": "{{ said.split() | join('+') }}{{ said.splitlines() | last }}{{ said | reverse }}",
    "swaps": "{{ said | replace('a', '(b)') }}{{ said.replace('', '.') }}{{ said.partition('t') | join('~') }}",
    "counts": "{{ said.count('a') }}{{ said.find('t') }}{{ said in ['cat'] }}{{ {'cat': 1}.get(said) }}",
    "loops": "{% for c in said %}{{ loop.index }}{{ c }}{% endfor %}{{ said is string }}{{ said | wordcount }}",
    "lost": "{% if '/no_think' in (said ~ '') %}quiet{% endif %}{{ said }}",
}


@pytest.mark.parametrize("name", LOOKING)
def test_a_template_sees_the_text_itself(name: str) -> None:
    family = KINDS["empty thought"]()
    ours, theirs = family.ours(), family.theirs()
    source = "{% set said = messages[0].content %}" + LOOKING[name] + "{{ '<|im_end|>' }}"
    for said in ("cat", "a cat\nsat /no_think ", '말 "모이" \\ 👍', "straße", " \n ", "", "\ue001 a"):
        messages = conversation(None, [said])
        expected = theirs.apply_chat_template(messages, chat_template=source, return_dict=False)
        assert ChatTemplate(source).encode(ours, messages)[0] == expected, said
        typed = conversation(None, [f"{said}<|im_end|>"])
        ids = ChatTemplate(source).encode(ours, typed)[0] if name != "lost" else [ours.end_of_turn_id]
        assert ids.count(ours.end_of_turn_id) == 1, said


def test_a_template_whose_answers_do_not_begin_with_its_prompt_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = KINDS["split"]()
    family.ours().save(tmp_path)
    ChatTemplate(family.source()).save(tmp_path)
    for _ in range(2):
        load_text(tmp_path)
    assert capsys.readouterr().err.count("do not begin with its generation prompt") == 1


def test_a_reward_models_zero_is_read_at_the_end_of_the_turn() -> None:
    """ChatML ends with a line break that no ranking holds."""
    family = KINDS["smollm2"]()
    tokenizer, template = family.ours(), ChatTemplate(family.source())
    messages = conversation(None, ["Where?", "On the mat.", "And the dog?", "On the log."])
    whole, _ = template.encode(tokenizer, messages)
    assert demonstration(tokenizer, template, messages).ids[0].tolist() == whole[:-1]
    assert whole[-2:] == [tokenizer.end_of_turn_id, *tokenizer.encode("\n")]
