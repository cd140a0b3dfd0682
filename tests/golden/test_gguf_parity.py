"""GGUF beside other implementations: the `gguf` package and transformers read what we write, and we what others wrote.

SmolLM2: its GGUF file, named by MALMOI_SMOLLM2_GGUF. llama.cpp: by its Python binding, where that is installed.
"""

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch

from malmoi.model.config import Llama3Rope, ModelConfig
from malmoi.model.gguf import Imported, import_gguf
from malmoi.model.gguf_export import KINDS, export_gguf
from malmoi.model.gguf_file import read_gguf
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

gguf = pytest.importorskip("gguf", reason="the oracle for GGUF: pip install gguf")
pytestmark = pytest.mark.filterwarnings("default:::transformers.*")

SMOLLM2 = Path(os.environ.get("MALMOI_SMOLLM2_GGUF", "no such file"))
needs_smollm2 = pytest.mark.skipif(not SMOLLM2.is_file(), reason="MALMOI_SMOLLM2_GGUF names no file")
TEXTS = [
    "The capital of France is Paris, isn't it? It's 12345 km  away.\n\nYes, I'LL say: “3.14”!\t\t<|im_end|>",
    "말모이는 온 나라 사람들에게서 낱말을 모으던 일이다. 1911년 ㅋㅋㅋ 🙂\r\n값은 ₩1,234원…",
    "def f(x: int = 0x1F) -> float:\n\treturn x**2 / 3.0  # comment\n\n\n    for i in range(10):\n        pass\n",
]
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


@pytest.mark.parametrize("kind", KINDS)
def test_the_gguf_package_reads_what_we_write(tmp_path: Path, tokenizer: Tokenizer, kind: str) -> None:
    model, template = network(tokenizer), ChatTemplate.default()
    export_gguf(tmp_path / "model.gguf", model, tokenizer, template, kind)
    theirs, ours = gguf.GGUFReader(tmp_path / "model.gguf"), read_gguf(tmp_path / "model.gguf")
    fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert fields == {
        name: value.tolist() if isinstance(value, np.ndarray) else float(np.float32(value)) if isinstance(value, float)
        else value for name, value in ours.metadata.items()
    }  # fmt: skip
    assert fields["tokenizer.chat_template"] == template.source
    assert {tensor.name for tensor in theirs.tensors} == set(ours.infos)
    for tensor in theirs.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(values, ours.tensor(tensor.name).numpy())


@pytest.mark.parametrize("name", NETWORKS)
def test_transformers_compute_the_same_from_our_file(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="transformers needs it to read GGUF")
    model = network(tokenizer, **NETWORKS[name])
    export_gguf(tmp_path / "model.gguf", model, tokenizer, ChatTemplate.default())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.randint(300, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    torch.testing.assert_close(logits(model, ids), logits(theirs.eval(), ids), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def smollm2() -> Imported:
    return import_gguf(SMOLLM2)


@needs_smollm2
def test_smollm2_is_what_transformers_make_of_the_same_file(smollm2: Imported) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="transformers needs it to read GGUF")
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
def test_smollm2_answers(smollm2: Imported) -> None:
    model, tokenizer = smollm2.network().eval(), smollm2.tokenizer
    ids, _ = smollm2.template.encode(tokenizer, CHAT, add_generation_prompt=True)
    answer: list[int] = []
    while len(answer) < 16 and (token := int(logits(model, ids + answer)[-1].argmax())) not in tokenizer.stop_ids:
        answer.append(token)
    assert tokenizer.decode(answer) == "The capital of France is Paris."


def llama_cpp_model(path: Path) -> Any:
    llama_cpp = pytest.importorskip("llama_cpp", reason="the binding of llama.cpp: pip install llama-cpp-python")
    return llama_cpp.Llama(str(path), n_ctx=128, logits_all=True, verbose=False, n_threads=1)


def llama_cpp_logits(model: Any, ids: list[int]) -> torch.Tensor:
    model.reset()
    model.eval(ids)
    return torch.from_numpy(np.array(model.scores[: len(ids)]))


WITHIN = {"f32": 1e-4, "f16": 0.05, "bf16": 0.3, "q8_0": 0.5}
"""Largest difference of a logit, of logits up to about 30, when llama.cpp computes in the stored format."""
LLAMA3 = Llama3Rope(factor=8, original_seq_len=8192, low_freq_factor=1, high_freq_factor=4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_llama_cpp_computes_the_same_from_our_file(tmp_path: Path, tokenizer: Tokenizer, name: str, kind: str) -> None:
    model = network(tokenizer, **NETWORKS[name])
    export_gguf(tmp_path / "model.gguf", model, tokenizer, ChatTemplate.default(), kind)
    theirs = llama_cpp_model(tmp_path / "model.gguf")
    for text in TEXTS:
        ids = tokenizer.encode(text)[:60]
        assert theirs.tokenize(text.encode(), add_bos=False, special=False)[:60] == ids
        difference = (logits(model, ids) - llama_cpp_logits(theirs, ids)).abs().max()
        assert difference <= WITHIN[kind] * logits(model, ids).abs().max() / 10
