"""Small tokenizers and chat templates, each of the kind of a known family of models."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

TEXT = (
    "The cat sat on the mat and the dog sat on the log. What is a list? A list holds values in order.\n\nuser\nsystem "
    "말모이는 온 나라 사람들에게서 낱말을 모으던 일이다. 사람들은 낱말을 종이에 적어 보냈다. assistant [INST] [/INST] "
)
CHATML = """
{%- for message in messages -%}
{%- if loop.first and messages[0]['role'] != 'system' -%}<|im_start|>system
You are a small model.<|im_end|>
{% endif -%}
{{ '<|im_start|>' + message['role'] + '\n' }}SAID{{ message['content'] + '<|im_end|>' }}END{{ '\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}
"""
THINKING = """
{%- set ns = namespace(last_query=messages | length - 1) -%}
{%- for message in messages[::-1] -%}
    {%- set index = messages | length - 1 - loop.index0 -%}
    {%- if message.role == 'user' and not message.content.startswith('<tool_response>') -%}
        {%- set ns.last_query = index -%}{%- break -%}
    {%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else '' -%}
    {{- '<|im_start|>' + message.role + '\n' -}}
    {%- if message.role == 'assistant' and '</think>' in content -%}
        {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') -%}
        {%- set content = content.split('</think>')[-1].lstrip('\n') -%}
        {%- if loop.index0 > ns.last_query -%}
            {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' -}}
        {%- endif -%}
    {%- endif -%}
    {{- content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' -}}{%- endif -%}
"""
LLAMA3 = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nYear: " + strftime_now("%Y") + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>' }}
    {{- '\n\n' }}SAID{{ message['content'] | trim + '<|eot_id|>' }}END
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""
MISTRAL = """
{%- if messages[0]['role'] == 'system' -%}
    {%- set system, turns = messages[0]['content'] ~ '\n\n', messages[1:] -%}
{%- else -%}
    {%- set system, turns = '', messages -%}
{%- endif -%}
{{- bos_token -}}
{%- for message in turns -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('roles must alternate: user, assistant, user, assistant') -}}
    {%- endif -%}
    {%- if message['role'] == 'user' -%}
        {{- ' [INST] ' + (system if loop.last else '') + message['content'] + ' [/INST]' -}}
    {%- else -%}
        {{- ' ' }}SAID{{ message['content'] + eos_token }}END{{ '' -}}
    {%- endif -%}
{%- endfor -%}"""
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% else %}
{{ '<|assistant|>\n' }}SAID{{ message['content'] + eos_token }}END
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
STRIPPING = """{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\n' }}\
SAID{{ message['content'] + '<|end|>' }}END{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""


def byte_level(*special: str, plain: Sequence[str] = (), **flags: Any) -> Backend:
    """As of GPT-2, Llama 3 and Qwen: the special tokens stand outside the model's own vocabulary."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    )
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True, **flags) for token in special])
    backend.add_tokens([AddedToken(token, normalized=False) for token in plain])
    return backend


def split_digits() -> Backend:
    """Llama 3's way: another pattern before the bytes."""
    headers = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    backend = byte_level(*headers)
    split = pre_tokenizers.Split(Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    return backend


def sentence_piece(scheme: str | None) -> Backend:
    """As of Llama 1 and 2, Mistral and Zephyr: a space is written into the token after it, bytes are a way out.

    scheme: where Metaspace puts a space of its own; None: a normalizer puts it before every part, as older files do
    """
    backend = Backend(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    metaspace = pre_tokenizers.Metaspace(prepend_scheme=scheme or "never", split=False)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    special = ["<unk>", "<s>", "</s>"]
    backend.train_from_iterator(
        [TEXT, "<tag></tag> s> </ s>" * 3],
        trainers.BpeTrainer(vocab_size=330, special_tokens=special, show_progress=False),
    )
    described = json.loads(backend.to_str())
    vocabulary = described["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    backend = Backend.from_str(json.dumps(described))
    backend.pre_tokenizer = metaspace if scheme else None
    if scheme is None:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return backend


@dataclass(frozen=True, repr=False)
class Family:
    """A tokenizer, its names, and a template in which SAID and END stand around what the assistant says."""

    backend: Backend
    names: Mapping[str, str]
    template: str
    end_of_turn: str
    roles_alternate: bool = False

    def source(self, said: str = "", end: str = "") -> str:
        return self.template.replace("SAID", said).replace("END", end)

    def ours(self) -> Tokenizer:
        return Tokenizer(self.backend, {**self.names, "chat_template": self.source()})

    def theirs(self) -> Any:
        transformers = pytest.importorskip("transformers")
        return transformers.PreTrainedTokenizerFast(tokenizer_object=self.backend, **self.names)


S = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SMOL = {
    "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>", "pad_token": "<|im_end|>",
}  # fmt: skip
THINK = ("<think>", "</think>", "<tool_response>", "</tool_response>")
QWEN = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
HEADERS = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
PHI_TOKENS = ("<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
MAKERS: dict[str, Callable[[], Family]] = {
    "smollm2": lambda: Family(byte_level(*CHATML_TOKENS), SMOL, CHATML, "<|im_end|>"),
    "qwen3": lambda: Family(byte_level(*CHATML_TOKENS, plain=THINK), QWEN, THINKING, "<|im_end|>"),
    "llama3": lambda: Family(split_digits(), HEADERS, LLAMA3, "<|eot_id|>"),
    "mistral": lambda: Family(sentence_piece("first"), S, MISTRAL, "</s>", roles_alternate=True),
    "mistral, older file": lambda: Family(sentence_piece(None), S, MISTRAL, "</s>", roles_alternate=True),
    "zephyr": lambda: Family(sentence_piece("always"), S, ZEPHYR, "</s>"),
    "phi3": lambda: Family(
        byte_level(*PHI_TOKENS, rstrip=True),
        {"bos_token": "<s>", "eos_token": "<|endoftext|>"}, STRIPPING, "<|end|>",
    ),
    "base": lambda: Family(
        byte_level("<|endoftext|>"), {"eos_token": "<|endoftext|>"}, ChatTemplate.plain().source, "<|endoftext|>"
    ),
}  # fmt: skip


def conversation(system: str | None, turns: Sequence[str]) -> list[dict[str, str]]:
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + [{"role": ("user", "assistant")[i % 2], "content": said} for i, said in enumerate(turns)]


def flagged(backend: Backend, **flags: bool) -> Backend:
    """The same tokenizer, from a file that stores its special tokens with these flags."""
    described = json.loads(backend.to_str())
    for token in described["added_tokens"]:
        if token["special"]:
            token.update(flags)
    return Backend.from_str(json.dumps(described))


def spoken(tokenizer: Tokenizer, ids: Sequence[int], trained: Sequence[bool]) -> str:
    """The trained-on tokens as text, special ones too."""
    chosen = [id for id, is_trained in zip(ids, trained, strict=True) if is_trained]
    return tokenizer.backend.decode(chosen, skip_special_tokens=False)
