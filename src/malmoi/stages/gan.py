"""A GAN: sharp, and only some of what there is; measured, since diffusion came to mend it."""

from malmoi.algorithms import gan
from malmoi.cost import Cost, Sizes
from malmoi.facts import Facts
from malmoi.image.gan import Gan
from malmoi.stage import Context, Finished, required
from malmoi.stages._pictures import train_pictures
from malmoi.stages._samples import draw_and_measure, sample_facts

Settings, Inputs = gan.Config, gan.Inputs
READS = {"pictures": required("pictures"), "clip": required("clip")}
MAKES = {"gan": {"facts": "gan.json"}}
TRAINS = True
LABEL = "GAN"
UNUSED = gan.UNUSED


def cost(settings: gan.Config, sizes: Sizes) -> Cost:
    """Of pictures of 32 pixels."""
    return Cost(fixed_s=settings.n_steps * settings.batch_size * 2.5e-3, holds_model=False)


def run(context: Context, settings: gan.Config) -> None:
    """Train, draw from random codes, and measure."""
    job = gan.build(settings, gan.Inputs(pictures=context.reads("pictures").path))
    trained = train_pictures(context, job, settings.loop)
    if trained is None:
        return
    assert isinstance(trained, Gan)
    draw_and_measure(context, "gan", trained.draw, trained.n_code)


def facts(finished: Finished) -> Facts:
    """What it draws, beside real pictures."""
    lead = (
        "Draws pictures from numbers drawn at random, without captions; a second network tells them from real ones. "
        "Its edges are sharp, but nothing makes it draw all that there is. Count clusters beside quality: noise lands "
        "in every cluster. Real pictures in the last column are others than those that both are compared with."
    )
    return sample_facts(finished, "GAN", lead)
