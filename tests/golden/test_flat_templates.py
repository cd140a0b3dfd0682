"""A conversation's beginnings are read off one rendering only where the template cannot tell what follows."""

import pytest

from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.jinja import generation_prompt, render
from malmoi.tokenizer.rendered_chat import render_chat
from tests.golden.small_families import CHATML_TOKENS, QWEN, Family, byte_level
from tests.golden.test_generation_prompt import KINDS, conversations

LOOP = "{% for message in messages %}{{ '<|im_start|>' + message.role + message.content + '<|im_end|>' }}{% endfor %}"
PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
BODY = "{{ message.content }}<|im_end|>"
FLAT = {
    "plain": LOOP + PROMPT,
    "without a prompt": LOOP,
    "first": "{% for message in messages %}{% if loop.first and messages[0].role != 'system' %}S<|im_end|>{% endif %}"
    + BODY + "{% endfor %}" + PROMPT,
    "continue": "{% for message in messages %}{% if message.role == 'user' %}{% continue %}{% endif %}"
    + BODY + "{% endfor %}" + PROMPT,
    "set": "{% for message in messages %}{% set text = message.content | trim %}{{ text }}<|im_end|>{% endfor %}"
    + PROMPT,
    "generation": "{% for message in messages %}{% generation %}" + BODY + "{% endgeneration %}{% endfor %}" + PROMPT,
}  # fmt: skip
NOT_FLAT = {
    "last": "{% for message in messages %}" + BODY + "{{ loop.last }}{% endfor %}" + PROMPT,
    "next": "{% for message in messages %}" + BODY + "{{ loop.nextitem is defined }}{% endfor %}" + PROMPT,
    "length": "{{ messages | length }}" + LOOP + PROMPT,
    "end": "{% for message in messages %}" + BODY + "{{ messages[-1].role }}{% endfor %}" + PROMPT,
    "asked": "{% for message in messages %}" + BODY + "{{ add_generation_prompt }}{% endfor %}",
    "twice": LOOP + LOOP + PROMPT,
    "kept": "{% set ns = namespace(n=0) %}{% for message in messages %}{% set ns.n = ns.n + 1 %}" + BODY
    + "{% endfor %}{% if add_generation_prompt %}{{ ns.n }}{% endif %}",
    "cycled": "{% set c = cycler('a', 'b') %}{% for message in messages %}" + BODY + "{{ c.next() }}{% endfor %}",
    "after": LOOP + "<|im_end|>" + PROMPT,
    "set before": "{% set x = messages[0].content %}" + LOOP
    + "{% if add_generation_prompt %}{{ x }}{% endif %}",
    "sliced": "{% for message in messages[1:] %}" + BODY + "{% endfor %}" + PROMPT,
    "broken off": "{% for message in messages %}{% if loop.index > 2 %}{% break %}{% endif %}" + BODY
    + "{% endfor %}" + PROMPT,
}  # fmt: skip


def is_flat(tokenizer: Tokenizer, source: str) -> bool:
    """Whether each beginning is read off the whole; then it is the one that the template writes."""
    found = set()
    for messages in conversations(4)[:40]:
        written = render_chat(source, tokenizer, messages, [], False)
        found.add(written.begins is not None)
        for n, begin in enumerate(written.begins or ()):
            asks = generation_prompt(source, tuple(sorted(tokenizer.names.items())))
            if n:
                expected = render(source, messages[:n], tokenizer.names, add_generation_prompt=True)
                assert f"{written.text[:begin]}{asks}" == expected
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize("name", [*FLAT, *NOT_FLAT])
def test_only_templates_that_cannot_look_ahead_are_read_off_one_rendering(name: str) -> None:
    tokenizer = Family(byte_level(*CHATML_TOKENS), QWEN, LOOP, "<|im_end|>").ours()
    assert is_flat(tokenizer, (FLAT | NOT_FLAT)[name]) == (name in FLAT)


def test_our_own_templates_are_read_off_one_rendering(tokenizer: Tokenizer) -> None:
    assert is_flat(tokenizer, ChatTemplate.default().source) and is_flat(tokenizer, ChatTemplate.plain().source)
    smollm2 = KINDS["smollm2"]()
    assert is_flat(smollm2.ours(), smollm2.source())
