"""The likeliest answers to many prompts, as text."""

from collections.abc import Sequence

from malmoi.evals.subject import Subject
from malmoi.inference.engine import Engine
from malmoi.inference.fastest import fastest_way
from malmoi.inference.sampling import Sampling

N_ROWS = 64


def asked_in_chat(subject: Subject, questions: Sequence[str], max_tokens: int) -> tuple[list[list[int]], int]:
    """Each question as a user's turn, the assistant to speak next; see `fitting`."""
    encode, tokenizer = subject.template.encode, subject.tokenizer
    asked = [encode(tokenizer, [{"role": "user", "content": q}], add_generation_prompt=True)[0] for q in questions]
    return fitting(subject, asked, max_tokens)


def fitting(subject: Subject, prompts: Sequence[list[int]], max_tokens: int) -> tuple[list[list[int]], int]:
    """Prompts that leave room for an answer of up to half the context, and how many had to lose their beginning."""
    seq_len = subject.model.config.seq_len
    room = seq_len - min(max_tokens, seq_len // 2)
    return [ids[-room:] for ids in prompts], sum(len(ids) > room for ids in prompts)


def answer_greedily(
    subject: Subject, prompts: Sequence[list[int]], max_tokens: int, stop: Sequence[str] = ()
) -> list[str]:
    """Answers in the prompts' order; those of like length run together."""
    if not prompts:
        return []
    model, tokenizer, _ = subject
    n_rows = min(N_ROWS, len(prompts))
    way = fastest_way(model, n_rows)
    engine = Engine(
        model, end_ids=tokenizer.stop_ids, tokenizer=tokenizer, n_rows=n_rows, n_waiting=len(prompts),
        n_max=max(map(len, prompts)) + max_tokens, join_at=max(1, n_rows // 4), weights=way.weights, in_c=way.in_c,
    )  # fmt: skip
    sampling = Sampling(temperature=0, max_tokens=max_tokens, stop=tuple(stop))
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    requests = {i: engine.submit(prompts[i], sampling) for i in order}
    engine.finish()
    return [requests[i].text for i in range(len(prompts))]
