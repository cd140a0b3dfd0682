"""GGUF beside other implementations: the `gguf` package and transformers read what we write, and we what others wrote.

SmolLM2: its GGUF file, named by MALMOI_SMOLLM2_GGUF. llama.cpp: by its Python binding, where that is installed.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch

from malmoi.formats.gguf.file import read_gguf
from malmoi.formats.gguf.read import GGUFModel, import_gguf
from malmoi.formats.gguf.write import KINDS, export_gguf
from malmoi.model.config import LinearRope, Llama3Rope, ModelConfig, YarnRope
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.filterwarnings("default:::transformers.*")

SMOLLM2 = Path(os.environ.get("MALMOI_SMOLLM2_GGUF", "no such file"))
needs_smollm2 = pytest.mark.skipif(not SMOLLM2.is_file(), reason="MALMOI_SMOLLM2_GGUF names no file")
TEXTS = [
    "The capital of France is Paris, isn't it? It's 12345 km  away.\n\nYes, I'LL say: “3.14”!\t\t<|im_end|>",
    "말모이는 온 나라 사람들에게서 낱말을 모으던 일이다. 1911년 ㅋㅋㅋ 🙂\r\n값은 ₩1,234원…",
    "def f(x: int = 0x1F) -> float:\n\treturn x**2 / 3.0  # comment\n\n\n    for i in range(10):\n        pass\n",
]
TEMPLATE = ChatTemplate.default()
CHAT = [{"role": "user", "content": "What is the capital of France?"}]
LLAMA: dict[str, Any] = {"qk_norm": False}
NETWORKS: dict[str, dict[str, Any]] = {
    "llama": {**LLAMA, "rope_theta": 500.0, "norm_eps": 1e-5},
    "llama, tied": {**LLAMA, "tie_embeddings": True},
    "qwen2": {**LLAMA, "qkv_bias": True},
    "qwen3": {"head_dim": 128},  # transformers takes no other from the file
    "gpt2": {
        "norm": "layer", "ff": "gelu", "positions": "learned", "qk_norm": False, "n_kv_head": 4, "qkv_bias": True,
        "o_bias": True, "ff_bias": True, "tie_embeddings": True, "n_ff": 256, "norm_eps": 1e-5,
        "seq_len": 1024,  # transformers takes no other from the file
    },
}  # fmt: skip


def network(tokenizer: Tokenizer, **features: Any) -> LanguageModel:
    """A small network with large weights, so that no term is too small to be seen."""
    shape = {"n_layer": 3, "n_embd": 64, "n_head": 4, "n_kv_head": 2, "head_dim": 16, "n_ff": 96, "seq_len": 64}
    torch.manual_seed(11)
    model = LanguageModel(ModelConfig.model_validate({"vocab_size": tokenizer.vocab_size, **shape, **features}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name and "weight" in name else 0.0, 0.3 if parameter.ndim < 2 else 0.15)
    return model.eval()


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found = model(torch.tensor([ids]))
    return getattr(found, "logits", found)[0]


def transformers_for_gguf() -> Any:
    for name in ("gguf", "accelerate"):
        pytest.importorskip(name, reason=f"transformers reads GGUF with it: pip install {name}")
    return pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", KINDS)
def test_the_gguf_package_reads_what_we_write(tmp_path: Path, tokenizer: Tokenizer, kind: str) -> None:
    gguf = pytest.importorskip("gguf", reason="the oracle for GGUF: pip install gguf")
    export_gguf(tmp_path / "model.gguf", network(tokenizer), tokenizer, TEMPLATE, kind)
    theirs, ours = gguf.GGUFReader(tmp_path / "model.gguf"), read_gguf(tmp_path / "model.gguf")
    fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert fields == {
        name: value.tolist() if isinstance(value, np.ndarray) else float(np.float32(value)) if isinstance(value, float)
        else value for name, value in ours.metadata.items()
    }  # fmt: skip
    assert fields["tokenizer.chat_template"] == TEMPLATE.source
    assert {tensor.name for tensor in theirs.tensors} == set(ours.infos)
    for tensor in theirs.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(values, ours.tensor(tensor.name).numpy())


@pytest.mark.parametrize("name", NETWORKS)
def test_transformers_compute_the_same_from_our_file(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    transformers = transformers_for_gguf()
    model = network(tokenizer, **NETWORKS[name])
    export_gguf(tmp_path / "model.gguf", model, tokenizer, TEMPLATE)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.randint(300, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    torch.testing.assert_close(logits(model, ids), logits(theirs.eval(), ids), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def smollm2() -> GGUFModel:
    return import_gguf(SMOLLM2)


@needs_smollm2
def test_smollm2_is_what_transformers_make_of_the_same_file(smollm2: GGUFModel) -> None:
    transformers = transformers_for_gguf()
    given: dict[str, Any] = {"gguf_file": SMOLLM2.name}
    theirs = transformers.AutoModelForCausalLM.from_pretrained(SMOLLM2.parent, dtype=torch.float32, **given).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(SMOLLM2.parent, **given)
    model = smollm2.network().eval()
    for text in TEXTS:
        ids = smollm2.tokenizer.encode(text.replace("<|im_end|>", ""))
        assert ids == their_tokenizer(text.replace("<|im_end|>", ""), add_special_tokens=False).input_ids
        torch.testing.assert_close(logits(model, ids), logits(theirs, ids), atol=2e-4, rtol=1e-5)
    ids, _ = smollm2.template.encode(smollm2.tokenizer, CHAT, add_generation_prompt=True)
    assert ids == their_tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)


@needs_smollm2
def test_smollm2_answers(smollm2: GGUFModel) -> None:
    model, tokenizer = smollm2.network().eval(), smollm2.tokenizer
    ids, _ = smollm2.template.encode(tokenizer, CHAT, add_generation_prompt=True)
    answer: list[int] = []
    while len(answer) < 16 and (token := int(logits(model, ids + answer)[-1].argmax())) not in tokenizer.stop_ids:
        answer.append(token)
    assert tokenizer.decode(answer) == "The capital of France is Paris."


LLAMA3 = Llama3Rope(factor=8, original_seq_len=8192, low_freq_factor=1, high_freq_factor=4)
MORE_NETWORKS: dict[str, dict[str, Any]] = {
    **NETWORKS,
    "llama, biases": {**LLAMA, "qkv_bias": True, "o_bias": True, "ff_bias": True, "head_dim": 24},
    "llama, linear": {**LLAMA, "rope_scaling": LinearRope(factor=2.5)},
    "llama, llama3": {**LLAMA, "rope_scaling": LLAMA3, "rope_theta": 5e5, "head_dim": 64},
    "qwen2, yarn": {**LLAMA, "qkv_bias": True, "rope_scaling": YarnRope(factor=4, original_seq_len=16, beta_fast=16)},
    "smollm3": {**LLAMA, "n_layer": 5, "no_rope_layers": (3,)},
}
WITHIN = {"f32": 1e-4, "f16": 0.03, "bf16": 0.2, "q8_0": 0.6}
"""Largest difference of logits, which here reach 5: llama.cpp rounds what it multiplies to the stored format too."""


@pytest.fixture
def open_llama_cpp() -> Iterator[Callable[[Path], Any]]:
    """Opens a file with llama.cpp, all in float32 that is not stored otherwise."""
    llama_cpp = pytest.importorskip("llama_cpp", reason="the binding of llama.cpp: pip install llama-cpp-python")
    settings = {"n_ctx": 128, "n_threads": 1, "n_threads_batch": 1, "type_k": 0, "type_v": 0}
    with contextlib.ExitStack() as stack:
        yield lambda path: stack.enter_context(
            contextlib.closing(llama_cpp.Llama(str(path), logits_all=True, verbose=False, **settings))
        )


def llama_cpp_logits(model: Any, ids: list[int]) -> torch.Tensor:
    model.reset()
    model.eval(ids)
    return torch.from_numpy(np.array(model.scores[: len(ids)]))


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "f32") for name in MORE_NETWORKS), *(("qwen3", kind) for kind in KINDS if kind != "f32")],
)
def test_llama_cpp_computes_the_same_from_our_file(
    tmp_path: Path, tokenizer: Tokenizer, open_llama_cpp: Callable[[Path], Any], name: str, kind: str
) -> None:
    export_gguf(tmp_path / "model.gguf", network(tokenizer, **MORE_NETWORKS[name]), tokenizer, TEMPLATE, kind)
    theirs, ours = open_llama_cpp(tmp_path / "model.gguf"), import_gguf(tmp_path / "model.gguf").network().eval()
    # llama.cpp looks GELU up in a table of float16.
    within = 5e-3 if (name, kind) == ("gpt2", "f32") else WITHIN[kind]
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert theirs.tokenize(text.encode(), add_bos=False) == ids
        torch.testing.assert_close(logits(ours, ids[:60]), llama_cpp_logits(theirs, ids[:60]), atol=within, rtol=0)
    (ids, _), (message,) = TEMPLATE.encode(tokenizer, CHAT, add_generation_prompt=True), CHAT
    chat = f"<|user|>{message['content']}<|end|><|assistant|>"
    assert theirs.tokenize(chat.encode(), add_bos=False, special=True) == ids
    assert theirs.token_eos() == tokenizer.end_of_turn_id


@needs_smollm2
@pytest.mark.parametrize(("kind", "nats"), [("f32", 1e-6), ("f16", 5e-5), ("bf16", 2e-3), ("q8_0", 0.03)])
def test_smollm2_comes_back_to_llama_cpp(
    tmp_path: Path, smollm2: GGUFModel, open_llama_cpp: Callable[[Path], Any], kind: str, nats: float
) -> None:
    """nats: how far llama.cpp's next-token distributions are from ours (Kullback-Leibler), in the mean."""
    model, tokenizer = smollm2.network().eval(), smollm2.tokenizer
    original = open_llama_cpp(SMOLLM2)
    export_gguf(tmp_path / "model.gguf", model, tokenizer, smollm2.template, kind)
    theirs = open_llama_cpp(tmp_path / "model.gguf")
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert theirs.tokenize(text.encode(), add_bos=False) == original.tokenize(text.encode(), add_bos=False) == ids
        ours, found = logits(model, ids), llama_cpp_logits(theirs, ids)
        if kind == "f32":
            torch.testing.assert_close(ours, found, atol=1e-4, rtol=1e-5)
        ours, found = ours.log_softmax(-1), found.log_softmax(-1)
        assert (ours.exp() * (ours - found)).sum(-1).mean() < nats
    assert theirs.metadata["tokenizer.chat_template"] == original.metadata["tokenizer.chat_template"]
    assert theirs.token_eos() == original.token_eos()
