"""A plain autoencoder that draws: blurred, and why; measured, since diffusion came to mend it."""

from malmoi.algorithms import vae
from malmoi.cost import Cost, Sizes
from malmoi.facts import Facts
from malmoi.image.plain_vae import PlainVae
from malmoi.stage import Context, Finished, required
from malmoi.stages._pictures import train_pictures
from malmoi.stages._samples import draw_and_measure, sample_facts

Settings, Inputs = vae.Config, vae.Inputs
READS = {"pictures": required("pictures"), "clip": required("clip")}
MAKES = {"vae": {"facts": "vae.json"}}
TRAINS = True
LABEL = "Plain VAE"
UNUSED = vae.UNUSED


def cost(settings: vae.Config, sizes: Sizes) -> Cost:
    """Of pictures of 32 pixels."""
    return Cost(fixed_s=settings.n_steps * settings.batch_size * 1.5e-3, holds_model=False)


def run(context: Context, settings: vae.Config) -> None:
    """Train, draw from random codes, and measure."""
    job = vae.build(settings, vae.Inputs(pictures=context.reads("pictures").path))
    trained = train_pictures(context, job, settings.loop)
    if trained is None:
        return
    assert isinstance(trained, PlainVae)
    draw_and_measure(context, "vae", trained.draw, trained.n_code)


def facts(finished: Finished) -> Facts:
    """What it draws, beside real pictures."""
    lead = (
        "Draws pictures from numbers drawn at random, without captions. Many pictures fit the same numbers, and it "
        "learns their mean: edges wash out. Sharpness alone would not show it, since noise is sharp, too: read it "
        "beside the distance. Real pictures in the last column are others than those that both are compared with."
    )
    return sample_facts(finished, "Plain VAE", lead)
