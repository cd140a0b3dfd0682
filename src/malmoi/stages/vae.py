"""A plain autoencoder that draws: blurred, and why; measured, since diffusion came to mend it."""

from malmoi.algorithms import vae
from malmoi.stages import _samples

Settings, Inputs, UNUSED = vae.Config, vae.Inputs, vae.UNUSED
READS, MAKES, TRAINS = _samples.READS, {"vae": {"facts": "vae.json"}}, True
LABEL = "Plain VAE"
cost, run, facts = _samples.drawing_stage(
    vae, LABEL, 1.5e-3,
    "Draws pictures from numbers drawn at random, without captions. Many pictures fit the same numbers, and it learns "
    "their mean, so edges are blurred. Sharpness does not show that by itself, because noise is sharp too: read it "
    "together with the distance. The last column has other real pictures than those that both are compared with.",
)  # fmt: skip
