"""The table of rows: what is timed, in which unit, against which peers; and how much work each row is."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line of the table.

    work: name of the function that does it, in `malmoi_side` and in the peers' modules
    unit: tok/s (more is better) or s (less is better)
    peers: name -> the configurations that are tried; the fastest one is measured
    n_streams: prompts that are answered together
    """

    work: str
    unit: str
    what: str
    peers: dict[str, tuple[str, ...]]
    n_streams: int = 0


DTYPES = ("bfloat16", "float32")
# For a peer without a choice: its result names the format.
AS_THE_FILE = "as the file has it"
ROWS = {
    "decode_1": Row(
        "decode", "tok/s", "1 prompt, greedy, 128 new tokens: decoding without prefill",
        {"transformers": DTYPES, "llama.cpp": (AS_THE_FILE,)}, n_streams=1,
    ),
    "decode_8": Row(
        "decode", "tok/s", "8 prompts together, greedy, 128 new tokens each: decoding without prefill",
        {"transformers": DTYPES, "llama.cpp": (AS_THE_FILE,)}, n_streams=8,
    ),
    "decode_32": Row(
        "decode", "tok/s", "32 prompts together, greedy, 128 new tokens each: decoding without prefill",
        {"transformers": DTYPES}, n_streams=32,
    ),
    "sft": Row(
        "sft", "tok/s", "full fine-tuning on chats of 40 to 240 words, 8 an update: real tokens",
        {"trl": (*DTYPES, "bfloat16 packed")},
    ),
    "reward": Row(
        "reward", "tok/s", "reward model on pairs that share a prompt, 8 pairs an update: real tokens of both answers",
        {"trl": DTYPES},
    ),
    "rl_step": Row(
        "rl_step", "s",
        "sample 16 answers of 64 tokens, score them, KL to a reference, one update; Malmoi's with a value network",
        {"trl": DTYPES},
    ),
    "rl_step_grpo": Row(
        "rl_step_grpo", "s", "the same without a value network on either side", {"trl": DTYPES},
    ),
    "pretrain_6m": Row(
        "pretrain", "tok/s", "a 6M network from scratch, 16 x 256 tokens a step, 2 minutes, start-up included",
        {"torch": DTYPES, "torch.compile": DTYPES},
    ),
}  # fmt: skip
# Peer -> its module in this package.
MODULES = {
    "malmoi": "malmoi_side",
    "transformers": "peer_transformers",
    "llama.cpp": "peer_llama",
    "trl": "peer_trl",
    "torch": "peer_torch",
    "torch.compile": "peer_torch",
}


@dataclass(frozen=True)
class Sizes:
    """How much work a row is.

    n_prompt, n_new, n_check: tokens of a decoding prompt, of its answer, and of the answers that are compared with
    the peer's in float32
    n_rows, batch_size: chats or pairs of one epoch and of one update; n_words: shortest and longest chat
    n_asked, n_answers, n_rl_new, n_iterations: prompts of a rollout, answers to each (RLOO needs two), tokens of an
    answer, timed iterations
    shape, vocab_size, window, n_windows, seconds: the pretrained network, the input of one step, and the time
    """

    n_prompt: int = 40
    n_new: int = 128
    n_check: int = 16
    n_rows: int = 16
    batch_size: int = 8
    n_words: tuple[int, int] = (40, 240)
    n_asked: int = 8
    n_answers: int = 2
    n_rl_new: int = 64
    n_iterations: int = 2
    # 6.05M weights with the 4,096 tokens of its vocabulary.
    shape: dict[str, int] = field(
        default_factory=lambda: {"n_layer": 5, "n_embd": 256, "n_head": 4, "n_kv_head": 4, "head_dim": 64, "n_ff": 688}
    )
    vocab_size: int = 4096
    window: int = 256
    n_windows: int = 16
    seconds: float = 120.0


FULL = Sizes()
# Runs all code of a row in seconds, on a random network; no measure of speed.
QUICK = Sizes(
    n_new=6, n_check=4, n_rows=4, batch_size=2, n_words=(8, 24), n_asked=2, n_rl_new=4, n_iterations=1,
    shape={"n_layer": 2, "n_embd": 32, "n_head": 2, "n_kv_head": 2, "head_dim": 16, "n_ff": 64},
    vocab_size=512, window=32, n_windows=4, seconds=1.0,
)  # fmt: skip
