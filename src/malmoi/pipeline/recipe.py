"""A recipe: the stages to run, in order, and the settings of each."""

from collections.abc import Set
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from malmoi.algorithms.dpo import Config as DpoConfig
from malmoi.algorithms.dpo import Inputs as DpoInputs
from malmoi.algorithms.grpo import Config as GrpoConfig
from malmoi.algorithms.grpo import Inputs as GrpoInputs
from malmoi.algorithms.ppo import Config as PpoConfig
from malmoi.algorithms.ppo import Inputs as PpoInputs
from malmoi.algorithms.pretrain import Config as PretrainConfig
from malmoi.algorithms.pretrain import Inputs as PretrainInputs
from malmoi.algorithms.reward import Config as RewardConfig
from malmoi.algorithms.reward import Inputs as RewardInputs
from malmoi.algorithms.sft import Config as SftConfig
from malmoi.algorithms.sft import Inputs as SftInputs
from malmoi.config import Seed, Settings, override, parse, read_toml
from malmoi.corpus.encodings import UTF8, known
from malmoi.errors import ConfigError
from malmoi.evals.compare import CompareSettings
from malmoi.evals.demo import EvalSettings
from malmoi.pipeline.sources import DataSettings
from malmoi.pipeline.unused import OF_ALGORITHMS, OF_RECIPES, refuse_unused
from malmoi.synthetic.pydocs import PACKAGES

StageName = Literal[
    "corpus", "tokenizer", "pretrain", "base", "demonstrations", "data", "sft", "sample", "rank", "reward", "judge",
    "ppo", "dpo", "grpo", "eval", "compare",
]  # fmt: skip
ORDER: tuple[StageName, ...] = get_args(StageName)
"""The order in which a recipe names what it has of these."""
STAGES: tuple[StageName, ...] = (
    "corpus", "tokenizer", "pretrain", "demonstrations", "sft", "sample", "rank", "reward", "ppo", "eval",
)  # fmt: skip
"""Of a recipe that does not say: the whole ring, from raw text."""


INPUTS: dict[StageName, type[Settings]] = {
    "pretrain": PretrainInputs, "sft": SftInputs, "reward": RewardInputs, "judge": RewardInputs, "ppo": PpoInputs,
    "dpo": DpoInputs, "grpo": GrpoInputs,
}  # fmt: skip
"""What the algorithm of a stage reads, where other stages made it."""
READ_FROM = {
    "pretrain.shards": "the stage tokenizer",
    "sft.model": "the stage pretrain or base", "sft.data": "the stage demonstrations or data (data.conversations)",
    "reward.model": "the stage sft", "reward.data": "the stage rank or data (data.rankings)",
    "judge.model": "the stage sft", "judge.data": "the stage data (data.rankings)",
    "dpo.policy": "the stage sft", "dpo.data": "the stage data (data.rankings)",
    "ppo.ptx_shards": "the stage tokenizer",
} | {
    f"{stage}.{name}": source
    for stage in ("ppo", "grpo")
    for name, source in {
        "policy": "the stage sft", "reward_model": "the stage reward",
        "data": "the stage demonstrations or data (data.prompts)",
    }.items()
}  # fmt: skip
"""Where each of them comes from in a recipe."""


class CorpusSettings(Settings):
    """Which text, and how it is cleaned."""

    text: str = ""
    """File or folder of the user's own text; empty: the documentation of this Python and of `packages`."""
    packages: tuple[str, ...] = PACKAGES
    """Installed packages whose docstrings are read beside the standard library's."""
    errors: Literal["strict", "skip"] = "strict"
    """What to do with a file or a row that cannot be read."""
    encoding: Annotated[str, AfterValidator(known)] = UTF8
    """Of the user's files that have no mark and are not UTF-8, such as cp949 or euc-kr."""
    heldout_fraction: float = Field(0.05, gt=0, lt=1)
    """Share of the documents that is never trained on."""
    min_chars: int = Field(20, ge=0)
    """Shortest document that is kept, after cleaning."""
    seed: Seed = 1
    """Of the split."""


class TokenizerSettings(Settings):
    """How text becomes ids."""

    vocab_size: int = Field(4096, gt=0)
    """Tokens to learn, the special ones included."""
    seed: Seed = 1
    """Of the order in which documents are written to the shards."""


class BaseSettings(Settings):
    """The model to start from, when it is not pretrained here."""

    model: str = "smollm2-135m"
    """A model of the workspace, a short name that `malmoi models pull` knows, or a model folder."""


class DemonstrationSettings(Settings):
    """Conversations made from the text."""

    n_items: int = Field(1500, gt=0)
    """Documented names to ask about in training (with the user's own text: questions)."""
    n_unseen: int = Field(200, ge=0)
    """Names that nobody asks about until the evaluation."""
    longest: int = Field(200, gt=0)
    """Longest question and answer that are kept, in tokens; must leave room in the model's context."""
    untidy_share: float = Field(0.35, ge=0, le=1)
    """Share of the demonstrations that are right but wordier than people like."""
    n_prompts: int = Field(1200, gt=0)
    """Prompts to sample and rank answers for, and to train PPO on."""
    n_heldout_prompts: int = Field(300, gt=0)
    """Prompts, about other items, to judge reward model and PPO on."""
    seed: Seed = 1
    """Of all choices."""


class SampleSettings(Settings):
    """Answers for people to rank."""

    n_answers: int = Field(4, ge=2, le=9)
    """Answers to one prompt (K)."""
    temperature: float = Field(1.0, gt=0)
    """Of sampling."""
    max_tokens: int = Field(48, gt=0)
    """Longest answer."""
    seed: Seed = 1
    """Of sampling."""


class RankSettings(Settings):
    """Who ranks them."""

    error_rate: float = Field(0.25, ge=0, lt=0.5)
    """Share of the pairs that the simulated labeler turns round."""
    tie_margin: float = Field(0.1, ge=0)
    """Gold scores no further apart than this are a tie."""
    seed: Seed = 1
    """Of the labeler's errors."""


class Recipe(Settings):
    """Everything that decides what a recipe makes."""

    name: str = "recipe"
    """For the report."""
    seed: Seed = 1
    """Of every stage that does not set its own."""
    stages: tuple[StageName, ...] = STAGES
    """What to run, in this order."""
    corpus: CorpusSettings = CorpusSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    pretrain: PretrainConfig | None = None
    base: BaseSettings = BaseSettings()
    demonstrations: DemonstrationSettings = DemonstrationSettings()
    data: DataSettings | None = None
    sft: SftConfig | None = None
    sample: SampleSettings = SampleSettings()
    rank: RankSettings = RankSettings()
    reward: RewardConfig | None = None
    judge: RewardConfig | None = None
    ppo: PpoConfig | None = None
    dpo: DpoConfig | None = None
    grpo: GrpoConfig | None = None
    eval: EvalSettings = EvalSettings()
    compare: CompareSettings = CompareSettings()

    @model_validator(mode="before")
    @classmethod
    def _share_seed(cls, values: Any) -> Any:
        """Every stage that is to be run has a table, and in it a seed."""
        stages = values.get("stages", STAGES) if isinstance(values, dict) else None
        if not isinstance(stages, (list, tuple)):
            return values
        seeded = {}
        for name in ORDER:
            table = values.get(name, {} if name in stages else None)
            if isinstance(table, dict):
                has_seed = "seed" in _schema_of(cls, name).model_fields
                seeded[name] = ({"seed": values.get("seed", 1)} if has_seed else {}) | table
        return {**values, **seeded}


def _schema_of(recipe: type[Settings], stage: StageName) -> type[Settings]:
    """The settings' type of a stage, which may be left out of the recipe."""
    annotation: Any = recipe.model_fields[stage].annotation
    return next(kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type))


def read_recipe(path: Path, assignments: list[str] | None = None) -> Recipe:
    """Read a recipe file and apply `--set` assignments. Raises ConfigError that names the setting."""
    assignments = assignments or []
    written = read_toml(path)
    table = override(written, assignments)
    changed = {assignment.partition("=")[0].strip() for assignment in assignments}
    _check_unused(written, table, path.name, changed)
    _check_given_paths(table, path.name, changed)
    recipe = parse(Recipe, {"name": path.stem, **table}, path.name, changed)
    known = [name for name in ORDER if name in recipe.stages]
    if list(recipe.stages) != known or not known:
        where = "--set" if "stages" in changed else path.name
        raise ConfigError(
            f"{where}: stages: expected at least one, each at most once, in this order: {', '.join(ORDER)}"
        )
    _check_ptx(recipe, path.name, changed)
    here = [rule for rule in OF_RECIPES if rule.key.partition(".")[0] in recipe.stages]
    refuse_unused(recipe, table, here, path.name, changed)
    for stage in recipe.stages:
        refuse_unused(recipe, table, OF_ALGORITHMS.get(_algorithm_of(stage), ()), path.name, changed, stage)
    return recipe


def _check_given_paths(table: dict[str, Any], where: str, changed: Set[str]) -> None:
    """What a stage reads of other stages is no setting of a recipe; only `malmoi train` takes it from its file."""
    for stage, schema in INPUTS.items():
        table_of = table.get(stage)
        given: dict[str, Any] = table_of if isinstance(table_of, dict) else {}
        for name in schema.model_fields:
            if name in given:
                key = f"{stage}.{name}"
                raise ConfigError(
                    f"{'--set' if key in changed else where}: {key}: a recipe takes this from {READ_FROM[key]}; leave "
                    f"it out, or train outside of a recipe with `malmoi train {_algorithm_of(stage)}`"
                )


def _check_unused(written: dict[str, Any], table: dict[str, Any], where: str, changed: Set[str]) -> None:
    """Refuse settings that nothing in this recipe reads. A file may hold tables of stages that --set leaves out."""
    stages, of_file = table.get("stages", STAGES), written.get("stages", STAGES)
    if not isinstance(stages, list | tuple) or not isinstance(of_file, list | tuple):
        return  # which is refused for that
    for stage in ORDER:
        if any(key.partition(".")[0] == stage for key in changed) and stage not in stages:
            raise ConfigError(f"--set {stage}.…: this recipe has no stage {stage}; add it to stages, or leave that out")
        if stage in written and stage not in of_file and stage not in stages:
            raise ConfigError(f"{where}: {stage}: is not among the stages; add it there, or leave its table out")


def _check_ptx(recipe: Recipe, where: str, changed: Set[str]) -> None:
    if "ppo" in recipe.stages and recipe.ppo and recipe.ppo.ptx_coef and "tokenizer" not in recipe.stages:
        raise ConfigError(
            f"{'--set' if 'ppo.ptx_coef' in changed else where}: ppo.ptx_coef: mixes in pretraining text, which a "
            "recipe without the stage tokenizer has none of; leave it out, or use `malmoi train ppo` with ptx_shards"
        )


def _algorithm_of(stage: str) -> str:
    return "reward" if stage == "judge" else stage


def find_recipe(name: str) -> Path:
    """A recipe by path, or by name one that Malmoi ships. Raises ConfigError where there is none."""
    path, shipped = Path(name), Path(str(resources.files("malmoi"))) / "recipes"
    found = shipped / (path.name if path.suffix == ".toml" or "/" in name else f"{name}.toml")
    for place in (path, found):
        if place.exists() and not place.is_dir():
            return place
    names = ", ".join(sorted(other.stem for other in shipped.glob("*.toml")))
    raise ConfigError(f"{name}: no such recipe; give a .toml file, or one that comes with Malmoi: {names}")
