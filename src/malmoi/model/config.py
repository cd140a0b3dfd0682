"""The shape of a network, and its translation to the ecosystem's `config.json`."""

from typing import Any

from pydantic import model_validator

from malmoi.config import Settings
from malmoi.errors import CheckpointError


class ModelConfig(Settings):
    """A decoder-only transformer of the Llama shape; with `qk_norm` it is Qwen3's."""

    vocab_size: int = 0
    """Rows of the embedding; 0 in a recipe: as many as the tokenizer has."""
    n_layer: int = 4
    """Blocks of attention and feed-forward."""
    n_embd: int = 192
    """Width D of the residual stream."""
    n_head: int = 4
    """Query heads H."""
    n_kv_head: int = 2
    """Key and value heads; each serves n_head / n_kv_head query heads (arXiv:2305.13245)."""
    head_dim: int = 64
    """Width K of one head; even, for the rotary embedding."""
    n_ff: int = 512
    """Width of the gated feed-forward layer (SwiGLU, arXiv:2002.05202)."""
    seq_len: int = 256
    """Longest sequence, in tokens."""
    rope_theta: float = 10_000.0
    """Base of the rotary frequencies (arXiv:2104.09864)."""
    norm_eps: float = 1e-6
    """Added to the mean square in RMSNorm (arXiv:1910.07467)."""
    qk_norm: bool = True
    """Normalise queries and keys per head, as Qwen3 does (arXiv:2505.09388)."""
    tie_embeddings: bool = False
    """Use the embedding as the output head too."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelConfig":
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_head {self.n_head} is not a multiple of n_kv_head {self.n_kv_head}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; the rotary embedding turns pairs")
        return self

    def n_parameters(self) -> int:
        """Weights of the language model, the output head included once."""
        attention = self.n_embd * self.head_dim * (2 * self.n_head + 2 * self.n_kv_head)
        norms = 2 * self.n_embd + (2 * self.head_dim if self.qk_norm else 0)
        block = attention + 3 * self.n_embd * self.n_ff + norms
        embeddings = self.vocab_size * self.n_embd * (1 if self.tie_embeddings else 2)
        return self.n_layer * block + embeddings + self.n_embd

    def flops_per_token(self) -> int:
        """Floating-point operations of forward and backward for one token (6 N rule, plus attention)."""
        lookup = 0 if self.tie_embeddings else self.vocab_size * self.n_embd
        return 6 * (self.n_parameters() - lookup) + 6 * self.n_layer * self.n_head * self.head_dim * self.seq_len

    def to_hf(self, *, reward: bool = False, eos_token_id: int, pad_token_id: int) -> dict[str, Any]:
        """`config.json` as transformers, vLLM and llama.cpp read it."""
        family = "Qwen3" if self.qk_norm else "Llama"
        head = {"num_labels": 1} if reward else {}
        return {
            "architectures": [f"{family}For{'SequenceClassification' if reward else 'CausalLM'}"],
            "model_type": family.lower(),
            "vocab_size": self.vocab_size,
            "num_hidden_layers": self.n_layer,
            "hidden_size": self.n_embd,
            "num_attention_heads": self.n_head,
            "num_key_value_heads": self.n_kv_head,
            "head_dim": self.head_dim,
            "intermediate_size": self.n_ff,
            "max_position_embeddings": self.seq_len,
            "rope_theta": self.rope_theta,
            "rms_norm_eps": self.norm_eps,
            "tie_word_embeddings": self.tie_embeddings,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "use_cache": True,
            "dtype": "float32",
            "eos_token_id": eos_token_id,
            "pad_token_id": pad_token_id,
            **head,
        }

    @classmethod
    def from_hf(cls, config: dict[str, Any], where: str) -> "ModelConfig":
        """Read a `config.json`; CheckpointError when the architecture is not ours, or ours with what we lack."""
        family = config.get("model_type")
        if family not in ("llama", "qwen3"):
            raise CheckpointError(f"{where}: architecture {family!r} is not supported; llama and qwen3 are")
        # transformers 5 keeps the base inside `rope_parameters`; 4 wrote it plain, and scaling beside it.
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        needed = {
            "hidden_act": (config.get("hidden_act", "silu"), "silu"),
            "rope_type": (rope.get("rope_type", rope.get("type", "default")), "default"),
            "use_sliding_window": (config.get("use_sliding_window", False), False),
        }
        for name, (found, supported) in needed.items():
            if found != supported:
                raise CheckpointError(f"{where}: {name} {found!r} is not supported; {supported!r} is")
        try:
            return cls(
                vocab_size=config["vocab_size"],
                n_layer=config["num_hidden_layers"],
                n_embd=config["hidden_size"],
                n_head=config["num_attention_heads"],
                n_kv_head=config.get("num_key_value_heads", config["num_attention_heads"]),
                head_dim=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
                n_ff=config["intermediate_size"],
                seq_len=config["max_position_embeddings"],
                rope_theta=config.get("rope_theta") or rope.get("rope_theta", 10_000.0),
                norm_eps=config["rms_norm_eps"],
                qk_norm=family == "qwen3",
                tie_embeddings=config.get("tie_word_embeddings", False),
            )
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{where}: not a usable model configuration ({error})") from None
