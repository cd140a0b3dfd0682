"""SmolLM2-135M beside transformers: its GGUF file is named by MALMOI_SMOLLM2_GGUF. About two minutes on two cores."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch

from malmoi.formats.folder import load_model, load_text, save_model
from malmoi.formats.gguf.read import import_gguf
from malmoi.inference.generate import generate
from malmoi.inference.sampling import Sampling

SMOLLM2 = Path(os.environ.get("MALMOI_SMOLLM2_GGUF", "no such file"))
pytestmark = [
    pytest.mark.usefixtures("float32"),
    pytest.mark.filterwarnings("default:::transformers.*"),
    pytest.mark.skipif(not SMOLLM2.is_file(), reason="MALMOI_SMOLLM2_GGUF names no file"),
]
QUESTIONS = [
    "What is the capital of France?", "Write a haiku about rain.", "Explain photosynthesis to a child.",
    "안녕하세요, 자기소개를 해주세요.", "List three prime numbers.", "Who wrote Hamlet?", "def fib(n):",
    "Translate 'good morning' to Spanish.", "Why is the sky blue?", "Give me a recipe for pancakes.",
    "What is 12 times 12?", "Tell me a joke.", "한국의 수도는 어디인가요?", "Name the planets.",
    "What does HTTP stand for?", "Summarise the plot of Cinderella.", "How do I sort a list in Python?",
    "What is gravity?", "Write a short poem about the sea.", "Who was Ada Lovelace?",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = import_gguf(SMOLLM2)
    made = tmp_path_factory.mktemp("smollm2") / "model"
    save_model(made, found.network(), found.tokenizer, found.template, {})
    return made


def test_greedy_answers_are_those_of_transformers_token_by_token(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model, (tokenizer, template) = load_model(folder), load_text(folder)
    prompts = [
        template.encode(tokenizer, [{"role": "user", "content": q}], add_generation_prompt=True)[0] for q in QUESTIONS
    ]
    greedy = Sampling(temperature=0, max_tokens=64)
    found = [a.ids for a in generate(model, prompts, greedy, end_ids=[], seeds=[0] * len(prompts))]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for prompt, ids in zip(prompts, found, strict=True):
        inputs = torch.tensor([prompt])
        with torch.no_grad():
            expected = theirs.generate(
                inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=64, min_new_tokens=64, do_sample=False,
                eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        assert expected[0, len(prompt) :].tolist() == ids
        with torch.no_grad():
            torch.testing.assert_close(model(inputs), theirs(inputs).logits, rtol=1e-5, atol=5e-4)


def test_the_same_seed_gives_the_same_answer_alone_and_in_company(folder: Path) -> None:
    model, (tokenizer, _) = load_model(folder), load_text(folder)
    prompts = [tokenizer.encode(question) for question in QUESTIONS[:8]]
    sampling, seeds = Sampling(temperature=0.8, top_p=0.95, max_tokens=24), list(range(8))
    together = generate(model, prompts, sampling, end_ids=[], seeds=seeds)
    alone = [generate(model, [p], sampling, end_ids=[], seeds=[s])[0] for p, s in zip(prompts, seeds, strict=True)]
    assert together == alone
