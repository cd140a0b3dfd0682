"""The goals of the web as a corpus in one run: what is measured, next to the floor, the goal, and one library alone.

    python -m benchmarks.corpus_goals DATA [--log FILE] [--only TEXT]

DATA: a folder with `web/` (scrapinghub_article_bench_90.tar.gz, readability_pages.tar.gz, warc_samples.tar.gz,
dclm_quality_labels.jsonl.gz), `sft/tatoeba_en_ko.jsonl.gz`, `pretrain/enwiki.train.jsonl.gz` and
`pretrain/kowiki.valid.jsonl.gz`. Each figure comes from the command that docs/concepts/web-corpus.md names for it;
nothing is trained on what it measures with. Speeds need a machine that does nothing else. Minutes on two idle cores.
"""

import argparse
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

NUMBER = r"(-?\+?[\d,]*\.?\d+)"
WITH_INTERVAL = rf"{NUMBER}( \[[^\]]*\])?"


@dataclass(frozen=True)
class Goal:
    """A figure that is held to a floor.

    source: the command that prints it, a key of `commands`; pattern: finds it there, the first group is the figure, a
        second one its interval; beside: the same of a library; is_least: whether a smaller figure misses the floor
    """

    what: str
    floor: float
    good: float
    source: str
    pattern: str
    beside: str = ""
    is_least: bool = True

    def reaches(self, value: float, wanted: float) -> bool:
        return value >= wanted if self.is_least else value <= wanted


OURS = rf".*? {WITH_INTERVAL}; lid"
THEIRS = rf"^trafilatura.*? {WITH_INTERVAL}"
LID = rf".*lid\.176 alone {WITH_INTERVAL}"
RENSA = rf".*rensa by five words {WITH_INTERVAL}"
READABILITY = r"Readability's tests, \d+ pages\n(?:.*\n)*?"
MADE = r"made here, \d+ pages\n(?:.*\n)*?"
GOALS = (
    Goal("main text, F1, articles", 0.965, 0.973, "pages", rf"^malmoi +{WITH_INTERVAL}", THEIRS),
    Goal("  less trafilatura's default, paired", 0, 0.005, "pages", rf"^difference +{WITH_INTERVAL}"),
    Goal("  pages with F1 below .1", 0, 0, "pages", r"^below \.1: (\d+)", is_least=False),
    Goal("  Readability's pages that are read", 0.94, 0.975, "more pages",
         rf"{READABILITY} +malmoi +{WITH_INTERVAL}, of", rf"{READABILITY} +trafilatura.*? {WITH_INTERVAL}, of"),
    Goal("  with those below 200 letters, dropped", 0.94, 0.975, "more pages",
         rf"{READABILITY} +malmoi +{WITH_INTERVAL}$", rf"{READABILITY} +trafilatura.*? {WITH_INTERVAL}$"),
    Goal("  Korean pages, made", 0.97, 0.985, "more pages", rf"{MADE} +malmoi +{WITH_INTERVAL}",
         rf"{MADE} +trafilatura.*? {WITH_INTERVAL}"),
    Goal("extraction, MB/s of HTML", 3, 5, "pages", rf"^{NUMBER} MB/s, "),
    Goal("  pages/s", 18, 18, "pages", rf"MB/s, {NUMBER} pages/s"),
    Goal("quick pass, MB/s", 30, 40, "more pages", rf"{READABILITY}.*quick pass {NUMBER}"),
    Goal("reading .gz, MB/s of pages", 250, 400, "more pages",
         rf"^malmoi: .*: {NUMBER} to", rf"^fastwarc alone: .*: {NUMBER} to"),
    Goal("  memory of a process that reads, MB", 50, 50, "more pages", rf"only reads its .*: {NUMBER} MB",
         is_least=False),
    Goal("whole records of 300 damaged archives", 0.80, 0.84, "damage", rf"^ +malmoi +{WITH_INTERVAL}",
         rf"^ +fastwarc.*? {WITH_INTERVAL}"),
    Goal("language, English sentences", 0.99, 0.99, "steps", rf"^English  {OURS}", rf"^English  {LID}"),
    Goal("  Korean", 0.99, 1, "steps", rf"^Korean  {OURS}", rf"^Korean  {LID}"),
    Goal("  Korean with English", 0.99, 0.99, "steps", rf"^Korean, three {OURS}", rf"^Korean, three {LID}"),
    Goal("  English documents", 0.995, 0.995, "more pages", rf"English documents: {WITH_INTERVAL}"),
    Goal("  MB/s", 2.5, 20, "more pages", rf"English documents: .*; {NUMBER} MB/s"),
    Goal("near-duplicates, recall", 0.92, 0.95, "steps", rf"^  all +{WITH_INTERVAL}", rf"^  all{RENSA}"),
    Goal("  Korean without spaces", 0.99, 0.99, "steps", rf"^  Korean respaced +{WITH_INTERVAL}",
         rf"^  Korean respaced{RENSA}"),
    Goal("  dropped with less than half in common", 0, 0, "steps", r"half in common: (\d+) of", is_least=False),
    Goal("  MB/s", 8, 11, "steps", rf"search and check {NUMBER} MB/s"),
    Goal("quality, AUC on labels of people", 0.84, 0.87, "pages", rf"^score of prose +AUC {WITH_INTERVAL}",
         rf"^length alone +AUC {WITH_INTERVAL}"),
    Goal("personal data, recall, others' test", 0.95, 0.98, "personal", rf"recall {WITH_INTERVAL}"),
    Goal("  precision", 0.95, 0.98, "personal", rf"precision {WITH_INTERVAL}"),
    Goal("  clean sentences taken, of 1,000", 1, 0, "steps", r"clean sentences", is_least=False),
    Goal("whole build, MB/s of HTML a core", 2, 3, "build", rf"1 processes(?:.*\n)+?.*processor time \({NUMBER} MB/s"),
    Goal("  1 -> 2 processes, by the clock", 1.6, 1.8, "build", rf"1 -> 2 processes: {NUMBER}"),
)  # fmt: skip


def commands(data: Path, scratch: Path) -> dict[str, list[str]]:
    """Name -> a module of this folder with what it is given. The archives are unpacked into `scratch`."""
    for name in ("scrapinghub_article_bench_90", "readability_pages", "warc_samples"):
        with tarfile.open(data / "web" / f"{name}.tar.gz") as archive:
            archive.extractall(scratch / name, filter="data")
    english, korean = (str(data / "pretrain" / name) for name in ("enwiki.train.jsonl.gz", "kowiki.valid.jsonl.gz"))
    articles, others = str(scratch / "scrapinghub_article_bench_90"), str(scratch / "readability_pages")
    damaged = next((scratch / "warc_samples").rglob("warcfile.warc.gz"))
    return {
        "pages": ["corpus", "--pages", articles, "--labels", str(data / "web" / "dclm_quality_labels.jsonl.gz")],
        "more pages": ["corpus_pages", "--readability", others, "--korean", korean, "--documents", english, korean,
                       "--pages", articles],
        "damage": ["corpus_damage", str(damaged)],
        "steps": ["corpus", "--sentences", str(data / "sft" / "tatoeba_en_ko.jsonl.gz"), "--english", english,
                  "--korean", korean, "--seed", "20261201"],
        "personal": ["corpus_personal_written", "eighth"],
        "build": ["corpus", "--archives", str(scratch)],
    }  # fmt: skip


def found_in(said: str, pattern: str) -> tuple[float, str] | None:
    """(figure, as it is printed with its interval) of what a command said; None if it is not there."""
    if pattern == r"clean sentences":
        sentences = re.search(r"of ([\d,]+) clean sentences (\d+)", said)
        if sentences is None:
            return None
        share = int(sentences[2]) * 1000 / int(sentences[1].replace(",", ""))
        return share, f"{share:.2f}"
    found = re.search(pattern, said, re.M) if pattern else None
    if found is None:
        return None
    return float(found[1].replace(",", "")), "".join(group or "" for group in found.groups()[:2])


def table(said: Mapping[str, str], goals: Iterable[Goal] = GOALS) -> tuple[list[str], int]:
    """(lines, floors that are missed or not measured) of what each command said."""
    lines = [f"{'what':<40} {'floor':>7} {'good':>6}  {'measured':<22} {'a library alone':<22}"]
    missed = 0
    for goal in goals:
        ours, theirs = (found_in(said.get(goal.source, ""), pattern) for pattern in (goal.pattern, goal.beside))
        if ours is None:
            verdict = "NOT MEASURED"
        elif not goal.reaches(ours[0], goal.floor):
            verdict = "BELOW THE FLOOR"
        else:
            verdict = "good" if goal.reaches(ours[0], goal.good) else "floor"
        missed += verdict.isupper()
        sign = "" if goal.is_least else "≤ "
        line = f"{goal.what:<40} {sign + format(goal.floor, 'g'):>7} {goal.good:>6g}  "
        lines.append(f"{line}{ours[1] if ours else '':<22} {theirs[1] if theirs else '':<22} {verdict}")
    return lines, missed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--log", type=Path, help="what the commands print in all")
    parser.add_argument("--only", default="", help="only commands whose name has this in it")
    given = parser.parse_args()
    said: dict[str, str] = {}
    with TemporaryDirectory() as scratch:
        for name, words in commands(given.data, Path(scratch)).items():
            if given.only not in name:
                continue
            print(f"{name}: python -m benchmarks.{' '.join(words)}", file=sys.stderr, flush=True)
            done = subprocess.run([sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:]], text=True, stdout=-1)
            said[name] = done.stdout
            if given.log:
                given.log.write_text("".join(f"== {one}\n{text}" for one, text in said.items()), "utf-8")
    lines, missed = table(said, [goal for goal in GOALS if goal.source in said])
    print("\n".join(lines))
    print(f"{missed} of {len(lines) - 1} floors missed or not measured")
