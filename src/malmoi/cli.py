"""The command line: parses, calls, prints. Every command imports what it needs itself, so that `--help` is quick."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi import __version__
from malmoi.commands.following import after_quantising, after_recipe, typed
from malmoi.commands.groups import data_app, models_app, runs_app
from malmoi.commands.options import HELP, MOST_SEED, Json, WorkspaceOption, a_path, open_ledger
from malmoi.commands.ranks import led
from malmoi.commands.reporting import DEBUG, Reporting, finish_output, open_standard_streams
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.pipeline.recipe import Recipe

app = typer.Typer(cls=Reporting, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=HELP)  # fmt: skip # noqa: E501
app.add_typer(runs_app, name="runs")
app.add_typer(models_app, name="models")
app.add_typer(data_app, name="data")


def main() -> None:
    if sys.platform == "win32":
        print(
            "error: Malmoi runs on Linux and macOS; on Windows, install WSL (wsl --install), run it there",
            file=sys.stderr,
        )
        sys.exit(2)
    open_standard_streams()
    # What a terminal cannot show, or should not have sent, must not end the program.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        stream.reconfigure(errors=errors)  # type: ignore[union-attr]
    try:
        app(prog_name="malmoi")
    finally:
        finish_output()


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"malmoi {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help=f"Show where an error comes from (or {DEBUG}=1).")] = False,
) -> None:
    """Build an assistant of your own: text, tokenizer, pretraining, demonstrations, rankings, reward model, PPO, chat.

    Begin with `malmoi demo`; then `malmoi chat --workspace demo`.
    """
    if debug:
        os.environ[DEBUG] = "1"


Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another value for a setting; may be given several times."),
]
Model = Annotated[str, typer.Argument(help="A model of the workspace or a model folder.", show_default=False)]
Temperature = Annotated[float, typer.Option(metavar="T", help="0 takes the likeliest token; higher is wilder.")]
TopP = Annotated[float, typer.Option(metavar="P", help="Choose among the likeliest tokens of this probability.")]
MaxTokens = Annotated[int, typer.Option(metavar="N", help="Longest answer.")]
Weights = Annotated[
    str,
    typer.Option(metavar="FORMAT", help="Number format of the weights: auto, float32, bfloat16, int8, int4."),
]


@app.command()
@led
def demo(
    workspace: WorkspaceOption = Path("demo"),
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Your own text (.txt .md .jsonl .jsonl.gz .html) in place of Python's.", parser=a_path
        ),
    ] = None,
    errors: Annotated[
        str, typer.Option(metavar="skip|strict", help="What to do with text that cannot be read.")
    ] = "strict",
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=MOST_SEED, help="Of everything that is chosen by chance; by default the recipe's."
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="small|full|auto",
            help="How much is learned; auto measures this machine, once for each workspace.",
        ),
    ] = "auto",
    set_: Set = None,
) -> None:
    """Build a small assistant from nothing, in minutes, and report how good it is.

    Runs the recipe `nano`, or on a slower machine `nano-small`, and says which. Stopped or killed, the same command
    goes on where it was.

    \b
    Example:
      malmoi demo
      malmoi demo --workspace ./stories --text ./my-text --errors skip
      malmoi demo --size full
    """
    from malmoi.commands.demo import RECIPES, choose_size

    chosen, why = choose_size(size, workspace)
    given = [f"corpus.errors={json.dumps(errors)}"]
    again = ["malmoi", "demo", *(["--errors", errors] if errors != "strict" else [])]
    again += ["--size", size] if size != "auto" else []
    if seed is not None:
        given.append(f"seed={seed}")
        again += ["--seed", str(seed)]
    if text is not None:
        given.append(f"corpus.text={json.dumps(str(text.resolve()), ensure_ascii=False)}")
        again += ["--text", typed(text)]
    said = f"size    {chosen} ({RECIPES[chosen]}): {why}"
    _make(RECIPES[chosen], workspace, again, set_ or [], given, said)


@app.command()
@led
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of one that comes with Malmoi.")],
    only: Annotated[str | None, typer.Option(metavar="STAGE", help="Run this stage alone, anew.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Run this stage and all after it anew.")
    ] = None,
    set_: Set = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Run a recipe's stages in order, into a workspace.

    A stage whose settings and inputs are unchanged is not run again; one that was interrupted goes on.

    \b
    Example:
      malmoi run nano --set ppo.beta=0.02
      malmoi run recipes/nano.toml --from reward --workspace demo
      torchrun --nproc-per-node 2 -m malmoi run nano
    """
    if only and start:
        raise ConfigError("--only and --from: give one of them")
    _make(recipe, workspace, ["malmoi", "run", recipe], set_ or [], only=only, start=start)


def _recipe(name: str, assignments: list[str]) -> "Recipe":
    from malmoi.pipeline.recipe import find_recipe, read_recipe

    path = find_recipe(name)
    if not path.exists():
        shipped = ", ".join(sorted(other.stem for other in find_recipe("nano").parent.glob("*.toml")))
        raise ConfigError(f"{name}: no such recipe; give a .toml file, or one that comes with Malmoi: {shipped}")
    return read_recipe(path, assignments)


def _make(
    name: str, folder: Path, again: list[str], assignments: list[str], given: Sequence[str] = (), said: str = "",
    *, only: str | None = None, start: str | None = None,
) -> None:  # fmt: skip
    """Run a recipe, report on it when it was measured, and say what to type next.

    again: the words that run the same once more, without the workspace and `assignments`, which are those of --set
    given: settings that other options gave; said: a line to begin with
    """
    began = time.monotonic()
    from malmoi.commands.estimate import estimate_rest
    from malmoi.doctor import inspect_machine, plan_of, refuse, show_plan
    from malmoi.pipeline.console import Console
    from malmoi.pipeline.run import run_recipe
    from malmoi.report import summary_table, write_report
    from malmoi.workspace.folder import Workspace

    recipe = _recipe(name, [*given, *assignments])
    machine = inspect_machine(folder)
    refuse(recipe, machine, use_total=True)
    workspace = Workspace.open(folder)
    if "base" in recipe.stages:
        from malmoi.commands.models import bring

        bring(workspace, recipe.base.model)
    with contextlib.closing(Console()) as console:
        with workspace.lock():  # who is refused is told so at once
            needs = estimate_rest(recipe, workspace, machine.compute_dtype, only=only, start=start)
        if said:
            console.line(said)
        if needs:
            console.line(f"plan    of {recipe.name}, as measured now:")
            show_plan(plan_of(needs), machine, console.line)
        done = run_recipe(recipe, workspace, console, only=only, start=start)
        if done.keys() & {"eval", "compare"}:
            report = write_report(recipe, workspace, done, time.monotonic() - began)
            console.rich.print(summary_table(report))
            console.line(f"\nreport  {folder / 'report.html'}")
        beta = recipe.ppo.beta if recipe.ppo else None
        for number, command in enumerate(after_recipe(done, beta, folder, again, assignments)):
            console.line(f"{'' if number else 'next':<8}{command}")


@app.command()
def train(
    algorithm: Annotated[
        str, typer.Argument(help="pretrain, sft, reward, ppo, dpo, grpo: a module of malmoi.algorithms.")
    ],
    config: Annotated[
        Path, typer.Argument(help="Its settings (.toml); paths in it start at the current folder.", parser=a_path)
    ],
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the model goes; by default a folder named like the config.", parser=a_path
        ),
    ] = None,
) -> None:
    """Train one algorithm on model folders and data files, outside of any workspace.

    Writes DIR/metrics.jsonl and DIR/model. Run again with the same settings, it goes on where it stopped.

    \b
    Example:
      malmoi train sft sft.toml --set n_steps=200
      torchrun --nproc-per-node 2 -m malmoi train pretrain big.toml --out big
    """
    from malmoi.commands.train import train as train_one

    train_one(algorithm, config, set_ or [], out)


@app.command()
def chat(
    model: Annotated[
        str | None,
        typer.Argument(help="A model of the workspace (base, sft, ppo) or a model folder; default: its last."),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    temperature: Temperature = 0.7,
    top_p: TopP = 1.0,
    top_k: Annotated[int, typer.Option(metavar="K", help="Choose among this many likeliest tokens; 0: all.")] = 0,
    max_tokens: MaxTokens = 128,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=MOST_SEED, help="For the same answers again.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Answer this and leave.")] = None,
    weights: Weights = "auto",
) -> None:
    """Talk with a model on the terminal.

    Ctrl-C stops an answer, Ctrl-D leaves. /model sft goes on with another model, /help lists the commands.

    \b
    Example:
      malmoi chat --workspace demo
      malmoi chat sft --workspace demo --prompt "What does os.getcwd do?" --temperature 0
    """
    from malmoi.chat import Chat, converse, describe, typed_lines
    from malmoi.config import parse
    from malmoi.generate.sampling import Sampling
    from malmoi.model.inference import weights_named

    given = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "max_tokens": max_tokens}
    talk = Chat(model, workspace / "models", parse(Sampling, given, "chat"), seed, weights_named(weights))
    if prompt is not None:
        converse(talk, [" " + prompt], interactive=False)
    elif sys.stdin.isatty():
        typer.secho(f"{talk.name}: {describe(talk)}. /help lists the commands, Ctrl-D leaves.", err=True, dim=True)
        converse(talk, typed_lines(), interactive=True)
    else:
        converse(talk, (line.rstrip("\r\n") for line in sys.stdin), interactive=False)


@app.command("eval")
def evaluate(
    model: Model,
    tasks: Annotated[
        str, typer.Option(metavar="NAMES", help="Tasks with commas between; by default twelve in English.")
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the tasks' files; by default MALMOI_DATA names it.", parser=a_path),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, max=10**9, help="Questions of each task, the first ones; 0: all.")
    ] = 100,
    preferences: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="In place of tasks: a reward model on people's rankings, in any known format.",
            parser=a_path,
        ),
    ] = None,
    errors: Annotated[
        str, typer.Option(metavar="skip|strict", help="What to do with rankings that cannot be read.")
    ] = "strict",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON here too.", parser=a_path)] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Measure how good a model is, each figure with its 95 % interval.

    A model that writes is asked tasks: choices and last words by likelihood, sums and instructions by its answers.

    \b
    Example:
      malmoi eval smollm2-135m --tasks arc_easy,piqa,lambada --data ./eval
      malmoi eval reward --workspace demo --preferences rankings.jsonl --json
    """
    from malmoi.commands import evaluate as evaluation
    from malmoi.commands.runs import print_json, show
    from malmoi.files import write_json
    from malmoi.pipeline.console import watched

    if errors not in ("skip", "strict"):
        raise ConfigError(f"--errors {errors}: skip or strict")
    with watched():
        if preferences is not None:
            found = evaluation.evaluate_rewards(workspace, model, preferences, errors)  # type: ignore[arg-type]
        else:
            names = [name.strip() for name in tasks.split(",") if name.strip()]
            say = partial(typer.secho, err=True, dim=True)
            found = evaluation.evaluate_tasks(workspace, model, names, data, limit, say)
    if out is not None:
        write_json(out, found)
    if as_json:
        print_json(found)
    else:
        show((evaluation.tasks_table if preferences is None else evaluation.rewards_table)(found))


@app.command()
def generate(
    model: Model,
    prompts: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Prompts: JSON lines, in any format that is known.", show_default=False, parser=a_path
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the answers go: JSON lines.", show_default=False, parser=a_path)
    ],
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 256,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MOST_SEED, help="For the same answers again.")] = 0,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, max=10_000, help="Answers to each prompt.")] = 1,
    best_by: Annotated[
        str | None, typer.Option(metavar="REWARD_MODEL", help="Best-of-n: keep the one of N that it scores highest.")
    ] = None,
    weights: Weights = "auto",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Answer all prompts of a file; each line says how its answer was sampled, by which model, and how it ended.

    Stopped or killed, the same command goes on where it was.

    \b
    Example:
      malmoi generate ppo --workspace demo --prompts prompts.jsonl --out answers.jsonl --n 4 --seed 1
      malmoi generate sft --workspace demo --prompts prompts.jsonl --out best.jsonl --n 16 --best-by reward
    """
    from malmoi.commands.generate import generate as write_answers
    from malmoi.config import parse
    from malmoi.generate.sampling import Sampling
    from malmoi.model.inference import weights_named
    from malmoi.pipeline.console import watched

    given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    sampling = parse(Sampling, given, "generate")
    with watched():
        n_answers = write_answers(workspace, model, prompts, out, sampling, seed, n, weights_named(weights), best_by)
    typer.secho(f"{out}: {n_answers:,} answers", err=True, dim=True)


@app.command()
def quantise(
    model: Annotated[
        str | None, typer.Argument(help="A model of the workspace or a model folder; default: its last.")
    ] = None,
    weights: Annotated[
        str, typer.Option(metavar="FORMATS", help="Formats to compare with the usual one, with commas between.")
    ] = "int8,int4",
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Held-out text; default: the newest corpus's, else Python's documentation.",
            parser=a_path,
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Measure what a model loses, and wins, when its weights have 8 or 4 bits.

    Bytes of all weights, tokens per second of one stream, perplexity, and how often the likeliest next token stays.
    Quantising takes a second and is done on loading, by --weights of malmoi chat.

    \b
    Example:
      malmoi quantise smollm2-135m
    """
    from malmoi.commands.quantise import as_table
    from malmoi.commands.quantise import quantise as measure
    from malmoi.commands.runs import print_json, show
    from malmoi.model.inference import weights_named

    found = measure(workspace, model, ["auto", *map(weights_named, weights.split(","))], text)
    if as_json:
        print_json(found)
        return
    show(as_table(found))
    fastest = max(found["formats"], key=lambda row: row["tokens_per_s"])["weights"]
    command = after_quantising(model or found["model"], workspace, fastest)
    typer.secho(f"{fastest} is the fastest here; next: {command}", err=True, dim=True)


@app.command()
def lineage(
    what: Annotated[str, typer.Argument(help="A run, a path, or the first digits of an artefact's SHA-256.")],
    down: Annotated[
        bool, typer.Option("--down", help="The other way: all that was made out of it, or of a person's judgements.")
    ] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Where something came from: runs, seeds, settings and people, down to the text.

    \b
    Example:
      malmoi lineage models/ppo --workspace demo
      malmoi lineage 0001-corpus --down --workspace demo
    """
    from malmoi.commands import runs

    with open_ledger(workspace) as ledger:
        if down:
            found = runs.descend(ledger, what)
            runs.print_json([runs.made_row(m) for m in found]) if as_json else runs.show(runs.made_table(found))
        else:
            tree = runs.trace(ledger, what)
            runs.print_json(runs.lineage_rows(tree, ledger)) if as_json else runs.show(runs.lineage_tree(tree, ledger))


@app.command()
def doctor(
    recipe: Annotated[str | None, typer.Argument(help="Also: what would this recipe need here?")] = None,
    set_: Set = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Look at this machine and, for a recipe, at the memory and time it will need; refuse what cannot fit.

    The times are measured, in a few seconds: optimizer steps and answers of the recipe's own networks, beside whatever
    else this machine does now. For smollm too, before its model is there.

    \b
    Example:
      malmoi doctor
      malmoi doctor nano --set pretrain.model.n_layer=8
    """
    from malmoi.commands.runs import print_json
    from malmoi.doctor import examine, show_examination

    found = examine(_recipe(recipe, set_ or []) if recipe else None, workspace)
    print_json(found) if as_json else show_examination(found)
    if found["refused"]:
        raise ConfigError(found["refused"][0])
