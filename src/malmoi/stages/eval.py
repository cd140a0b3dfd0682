"""Everything that the report says of the demo's ring, measured on what nothing was trained on."""

from malmoi.cost import ANSWER_TOKENS, Cost, Sizes
from malmoi.evals import demo
from malmoi.files import write_json
from malmoi.stage import Context, need

Settings = demo.EvalSettings
READS = {
    "documents": need("documents"),
    "tokenizer": need("tokenizer"),
    "base": need("base"),
    "questions": need("questions"),
    "prompts": need("prompts"),
    "policy": need("policy"),
    "answers": need("answers"),
    "rankings": need("rankings"),
    "reward_model": need("reward model"),
    "aligned": need("aligned policy"),
}
MAKES = {"measurements": "eval.json"}


def cost(settings: demo.EvalSettings, sizes: Sizes) -> Cost:
    """SFT is asked all, PPO some, both what nobody asked in training; the base model seldom ends its answers."""
    n_sampled = sizes.n_heldout * settings.n_answers
    n_short = settings.n_questions + settings.n_base_questions + sizes.n_unseen + 2 * n_sampled
    base = (settings.n_base_questions, sizes.prompt, settings.max_tokens)
    short = (n_short, sizes.prompt, ANSWER_TOKENS)
    return Cost(s_per_mb=1.2, answers=(short, base), reads=((3 * n_sampled, sizes.chat),), holds_model=False)


def run(context: Context, settings: demo.EvalSettings) -> None:
    """Measure base model, policy, reward model and aligned policy."""
    reads = context.reads
    inputs = demo.Inputs(
        documents=reads("documents").parts,
        tokenizer=reads("tokenizer").path,
        base=reads("base").path,
        policy=reads("policy").path,
        aligned=reads("aligned").path,
        reward_model=reads("reward_model").path,
        questions=reads("questions").path,
        prompts=reads("prompts").part("heldout"),
        answers=reads("answers").path,
        rankings={part: reads("rankings").part(part) for part in ("heldout", "labeler")},
    )
    write_json(context.out / "eval.json", demo.evaluate_demo(inputs, settings, context.say))
