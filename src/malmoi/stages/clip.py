"""CLIP: a tower that reads captions and one that reads pictures, trained to find what belongs together."""

from itertools import pairwise

from malmoi.algorithms import clip
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import HELDOUT, read_pictures
from malmoi.evals.clip import measure_clip
from malmoi.facts import Card, Facts, Section, Summary, figures
from malmoi.files import read_json, write_json
from malmoi.formats.own_pictures import load_clip, save_clip
from malmoi.image.towers import Clip
from malmoi.stage import Context, Finished, required
from malmoi.stages._pictures import picture_cost, train_pictures
from malmoi.stages._training import loss_plots

Settings, Inputs = clip.Config, clip.Inputs
READS = {"pictures": required("pictures")}
MAKES = {"clip": {"": "clip", "facts": "clip.json"}}
TRAINS = True
LABEL = "CLIP"
UNUSED = clip.UNUSED


def cost(settings: clip.Config, sizes: Sizes) -> Cost:
    """Both towers, forward and backward."""
    width = settings.model.n_embd
    text = 16 * settings.model.n_layer * 24 * width**2
    widths, picture, side = (3, *settings.model.channels), 0, 32
    for i, (before, after) in enumerate(pairwise(widths)):
        side = side if i == 0 else side // 2
        picture += 18 * side**2 * before * after
    return picture_cost(3 * (text + 2 * picture), settings.n_steps * settings.batch_size)


def run(context: Context, settings: clip.Config) -> None:
    """Train both towers, and measure them on held-out pictures."""
    folder = context.reads("pictures").path
    job, vocabulary = clip.build_with_words(settings, clip.Inputs(pictures=folder))
    trained = train_pictures(context, job, settings.loop)
    if trained is None:
        return
    assert isinstance(trained, Clip)
    save_clip(context.out / "clip", trained, vocabulary)
    towers, captions = load_clip(context.out / "clip")
    found = measure_clip(towers, captions, read_pictures(folder, HELDOUT))
    write_json(context.out / "clip.json", found)


def facts(finished: Finished) -> Facts:
    """The loss, recall and zero-shot classification."""
    found = read_json(finished.out / "clip.json")
    labels = {
        f"{what}_{language}": f"{said}, {name} captions"
        for what, said in (
            ("recall_1", "recall at 1: the right caption comes first"),
            ("recall_10", "recall at 10"),
            ("zero_shot", "zero-shot: which of the held-out concepts it is"),
        )
        for language, name in (("en", "English"), ("ko", "Korean"))
    }
    lead = (
        f"Pictures and captions learn to be near each other. Measured on {found['n']:,} held-out pictures, none "
        f"of which was trained on: chance is {1 / max(1, found['n']):.4f} for recall at 1."
    )
    row = found.get("recall_1_en") or found.get("recall_1_ko")
    cards = [Card("CLIP finds the caption", row)] if row else []
    summary = [Summary("CLIP: recall at 1 on held-out pictures", row)] if row else []
    plots = loss_plots(finished, "Training loss, nats per picture", "ink")
    section = Section("CLIP", lead, [figures(found, labels), *plots])
    return Facts([section], cards, summary, json={finished.stage: found})
