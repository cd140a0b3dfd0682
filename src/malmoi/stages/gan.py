"""A GAN: sharp, and only some of what there is; measured, since diffusion came to mend it."""

from malmoi.algorithms import gan
from malmoi.stages import _samples

Settings, Inputs, UNUSED = gan.Config, gan.Inputs, gan.UNUSED
READS, MAKES, TRAINS = _samples.READS, {"gan": {"facts": "gan.json"}}, True
LABEL = "GAN"
cost, run, facts = _samples.drawing_stage(
    gan, LABEL, 2.5e-3,
    "Draws pictures from numbers drawn at random, without captions; a second network tells them from real ones. Its "
    "edges are sharp, but nothing makes it draw all kinds of pictures. Read the clusters together with "
    "the quality: noise lands in every cluster. The last column has other real pictures than those that both are "
    "compared with.",
)  # fmt: skip
