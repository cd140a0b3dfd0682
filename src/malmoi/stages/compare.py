"""Every aligned policy compared with SFT, on prompts and rankings that nothing was trained on."""

from math import ceil

from malmoi.cost import Cost, Sizes
from malmoi.evals import compare
from malmoi.files import write_json
from malmoi.stage import POLICY, Context, every, need
from malmoi.unused import Unused, is_empty

Settings = compare.CompareSettings
READS = {
    "policy": POLICY,
    "reward_model": need("reward model"),
    "judge": need("judge"),
    "rankings": need("rankings"),
    "prompts": need("prompts"),
    "methods": every("aligned policy"),
}
MAKES = {"measurements": "compare.json"}
UNUSED = (Unused("not_shown", "n_shown", is_empty, "compare.n_shown is 0"),)


def cost(settings: compare.CompareSettings, sizes: Sizes) -> Cost:
    """Answers of all policies; the policy, the reward model and the judge read each."""
    n_answers = settings.n_prompts * (settings.n_best + sizes.n_methods * settings.n_answers)
    answer = ceil(0.9 * settings.max_tokens)
    return Cost(answers=((n_answers, sizes.prompt, answer),), reads=((3 * n_answers, sizes.prompt + answer),))


def run(context: Context, settings: compare.CompareSettings) -> None:
    """Ask all of them the same held-out prompts, and let the judge compare."""
    reads = context.reads
    methods = {made.source: made for made in reads["methods"]}
    inputs = compare.Inputs(
        policy=reads("policy").path,
        reward_model=reads("reward_model").path,
        judge=reads("judge").path,
        rankings=reads("rankings").part("heldout"),
        prompts=reads("prompts").part("heldout"),
        facts=reads("rankings").parts.get("facts"),
        methods={name: made.path for name, made in methods.items()},
        curves={name: made.part("curve") for name, made in methods.items() if made.has("curve")},
    )
    write_json(context.out / "compare.json", compare.compare(inputs, settings, context.say))
