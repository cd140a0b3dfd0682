"""`malmoi corpus build|show|trace|remove`: the web's archives as text to train on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from malmoi.cli.options import HELP, Json, On, WorkspaceOption, a_path

app = typer.Typer(
    help="Build a corpus from archives of the web, and trace each page of it.", no_args_is_help=True,
    context_settings=HELP,
)  # fmt: skip
SHOWN = 20
"""Lines of a page that `trace` shows."""
Folder = Annotated[
    Path, typer.Argument(metavar="CORPUS", help="Folder of a corpus.", parser=a_path, show_default=False)
]


@app.command()
def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="WARC, WET or ARC files; folders of them, of pages, text, PDF, JSON lines or Parquet; patterns; "
            "addresses (s3://, https://); FILE.list with one of these in a line.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the corpus.", parser=a_path)],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as min_score=0.5; may be repeated."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that read; the result is the same.", show_default="1")
    ] = None,
    on: On = None,
    as_json: Json = False,
) -> None:
    """Read archives and files, and keep the text that is worth learning.

    Main text of pages, language, quality, copies, evaluation sets, personal data. Every page that is read is kept, or
    counted with the step and the reason. Pages whose owner says noai, or reserves text mining, are left out. If it is
    killed, the same command goes on.

    \b
    Example:
      malmoi corpus build crawl/*.warc.gz --out web
      malmoi corpus build pages notes.jsonl --out web --set 'languages=["ko"]' --set min_score=0.6
      malmoi corpus build crawl/*.warc.gz --out web --on ray://10.0.0.1:6379
    """
    from malmoi.cli.console import watched
    from malmoi.cli.printing import print_json, printable
    from malmoi.config import override, parse
    from malmoi.corpus.build import build as make
    from malmoi.corpus.form import Settings
    from malmoi.errors import ConfigError
    from malmoi.report.corpus_page import write_corpus_report
    from malmoi.workspace.locks import LOCK, holding_for_now

    if on and workers is not None:
        raise ConfigError("--workers and --on: give one of them; a cluster reads on all its processors")
    if out.is_file():
        raise ConfigError(f"{out}: is a file; a corpus is a folder, choose another name")
    given = set_ or []
    table = override({}, given)
    settings = parse(Settings, table, "--set", frozenset(one.partition("=")[0].strip() for one in given))
    lines: list[str] = []
    with holding_for_now(out / LOCK, str(out)), watched():
        made = make(sources, out, settings, workers or 1, lines.append, on or "")
        lines.append(f"report: {write_corpus_report(out)}")
    if as_json:
        print_json({name: value for name, value in made.items() if name not in ("samples", "kept_samples")})
        return
    for line in (*lines, *told(made, out)):
        print(printable(line))


@app.command()
def show(
    folder: Folder,
    samples: Annotated[bool, typer.Option("--samples", help="Show kept and dropped samples.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Write its report.html again.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is in a corpus, and what each step dropped. The build has written the same, with samples, as a page.

    \b
    Example:
      malmoi corpus show web --samples
      malmoi corpus show web --report
    """
    from malmoi.cli.printing import print_json, printable
    from malmoi.corpus.built import open_built

    found = open_built(folder)
    if report:
        from malmoi.report.corpus_page import write_corpus_report

        path = write_corpus_report(folder)
    if as_json:
        print_json(found)
        return
    for line in (*told(found, folder), *([f"report: {path}"] if report else [])):
        print(printable(line))
    kept = found["kept_samples"].get("personal", [])
    for step, rows in [("kept", kept), *found["samples"].items()] if samples else ():
        for row in rows:
            text = " ".join(row["text"].split())[:200]
            print(printable(f"\n{step}{': ' + row['reason'] if 'reason' in row else ''}  {row['url']}\n  {text}"))


@app.command()
def trace(
    page: Annotated[str, typer.Argument(metavar="ID|URL", help="Id or address of a page.", show_default=False)],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="CORPUS",
            help="Folder of a corpus; without it, those that the runs of the workspace have read.",
            parser=a_path,
            show_default=False,
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Follow a page down to its record: archive, byte, date, licence, and what each step did to it.

    \b
    Example:
      malmoi corpus trace 3fa92c41d7e0b518 web
      malmoi corpus trace https://example.org/tea web
      malmoi corpus trace 3fa92c41d7e0b518 --workspace W
    """
    from malmoi.cli.printing import print_json, printable
    from malmoi.corpus.built import trace as find
    from malmoi.workspace.corpora import trace_in
    from malmoi.workspace.folder import Workspace

    found = find(folder, page) if folder else trace_in(Workspace(workspace), page)
    if as_json:
        print_json(found)
        return
    if not found["kept"]:
        copy = f", of {found['copy_of']}" if "copy_of" in found else ""
        print(printable(f"{found['url'] or page}: dropped by {found['step']}: {found['reason']}{copy}"))
        return
    known = found["metadata"]
    lines = [f"{found['id']}  {known['url']}", f"record: {known['archive']}, byte {known['offset']:,}"]
    lines += [
        f"{name}: {known[name]}"
        for name in ("title", "author", "date", "license", "origin", "language")
        if name in known
    ]
    lines[:0] = [f"corpus: {found['corpus']}"] if "corpus" in found else []
    lines += [
        f"{one['step']}: {', '.join(f'{k} {v}' for k, v in one.items() if k != 'step')}" for one in known["steps"]
    ]
    text = found["text"].splitlines()
    more = [f"… {len(text) - SHOWN:,} more lines; --json prints all"] if len(text) > SHOWN else []
    for line in (*lines, "", *text[:SHOWN], *more):
        print(printable(line))


@app.command()
def remove(
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the next version.", parser=a_path)],
    domain: Annotated[list[str] | None, typer.Option(help="A domain, with its subdomains; may be repeated.")] = None,
    url: Annotated[list[str] | None, typer.Option(help="An address; may be repeated.")] = None,
    id_: Annotated[list[str] | None, typer.Option("--id", help="Id of a page; may be repeated.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Write the next version of a corpus without some pages, and name the models that have read them.

    \b
    Example:
      malmoi corpus remove web --domain example.org --out web-2
    """
    from malmoi.cli.printing import printable
    from malmoi.corpus.built import remove as write
    from malmoi.errors import ConfigError
    from malmoi.workspace.corpora import readers
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.ledger import Ledger

    if not (domain or url or id_):
        raise ConfigError("nothing to remove; give --domain, --url or --id")
    made = write(folder, out, domain or (), url or (), id_ or ())
    n = sum(made["dropped"]["remove"].values())
    print(printable(f"{out}: {made['n_kept']:,} pages; {n:,} removed, {folder} stays as it is"))
    here = Workspace(workspace)
    if here.exists:
        with Ledger.open(here, only_read=True) as ledger:
            for name in readers(ledger, folder):
                print(printable(f"has read the earlier version: {name}"))


def told(found: dict[str, Any], folder: Path) -> list[str]:
    """A corpus in lines."""
    from malmoi.cli.next_commands import after_corpus
    from malmoi.corpus.form import STEPS

    n_dropped = sum(sum(reasons.values()) for reasons in found["dropped"].values())
    pages = f"{found['n_kept']:,} {'page' if found['n_kept'] == 1 else 'pages'}"
    lines = [
        f"{folder}: {pages}, {found['n_text_bytes'] / 1e6:,.2f} MB of text",
        f"read: {found['n_read']:,} records in {found['n_sources']:,} files, {found['n_bytes'] / 1e6:,.1f} MB; "
        f"{n_dropped:,} dropped",
    ]
    for step in STEPS:
        for reason, n in sorted(found["dropped"].get(step, {}).items(), key=lambda one: -one[1]):
            lines.append(f"  {step:<13} {n:>9,}  {reason}")
    lines += [
        f"damaged: {name}, {'once' if n == 1 else f'{n:,} times'}; the rest was read"
        for name, n in found["damaged"].items()
    ]
    for title in ("languages", "licenses", "masked"):
        if found[title]:
            lines.append(f"{title}: {', '.join(f'{name} {n:,}' for name, n in list(found[title].items())[:10])}")
    return [*lines, f"next: {after_corpus(folder)}"]
