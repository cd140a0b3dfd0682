"""Names of Stable Diffusion's weights in single files, as its makers' code (LDM) has them, next to ours.

A table has prefixes of ours -> theirs; `their_name` takes the longest that fits. Source: the names in the published
files of Stable Diffusion 1.5 and 2.1.
"""

from collections.abc import Iterable, Mapping

from malmoi.image.autoencoder import AutoencoderConfig
from malmoi.image.unet import UNetConfig

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
"""What begins the names of the three networks' weights."""
CLIP, OPEN_CLIP = f"{TEXT}transformer.", f"{TEXT}model."
"""Text encoder of Stable Diffusion 1.x under transformers' names, and of 2.x under those of OpenCLIP."""
_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_VAE_RESNET = {"conv_shortcut": "nin_shortcut"}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP_NAMES = {
    "embeddings.token_embedding": "token_embedding", "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final", "encoder.layers": "transformer.resblocks",
}  # fmt: skip
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip
FUSED = ("q_proj", "k_proj", "v_proj")
"""Ours, in the order in which OpenCLIP's `attn.in_proj` has them."""


def their_name(name: str, table: Mapping[str, str]) -> str:
    """The name with its beginning changed as the table says; as it is where no entry fits."""
    fitting = [ours for ours in table if name == ours or name.startswith(f"{ours}.")]
    if not fitting:
        return name
    ours = max(fitting, key=len)
    return table[ours] + name[len(ours) :]


def unet_table(config: UNetConfig) -> dict[str, str]:
    """A U-Net's names, without UNET."""
    table = {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
        "mid_block.attentions.0": "middle_block.1",
    }  # fmt: skip
    table |= _inside("mid_block.resnets.0", "middle_block.0", _RESNET)
    table |= _inside("mid_block.resnets.1", "middle_block.2", _RESNET)
    n_layers, n_levels = config.layers_per_block, len(config.block_out_channels)
    for level in range(n_levels):
        for layer in range(n_layers):
            place = f"input_blocks.{1 + level * (n_layers + 1) + layer}"
            table |= _inside(f"down_blocks.{level}.resnets.{layer}", f"{place}.0", _RESNET)
            table[f"down_blocks.{level}.attentions.{layer}"] = f"{place}.1"
        table[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{(level + 1) * (n_layers + 1)}.0.op"
        for layer in range(n_layers + 1):
            place = f"output_blocks.{level * (n_layers + 1) + layer}"
            table |= _inside(f"up_blocks.{level}.resnets.{layer}", f"{place}.0", _RESNET)
            table[f"up_blocks.{level}.attentions.{layer}"] = f"{place}.1"
        after = 2 if config.up_block_types[level] == "CrossAttnUpBlock2D" else 1
        last = f"output_blocks.{(level + 1) * (n_layers + 1) - 1}.{after}"
        table[f"up_blocks.{level}.upsamplers.0.conv"] = f"{last}.conv"
    return table


def vae_table(config: AutoencoderConfig) -> dict[str, str]:
    """An autoencoder's names, without VAE."""
    n_levels, table = len(config.block_out_channels), {}
    for side in ("encoder", "decoder"):
        table[f"{side}.conv_norm_out"] = f"{side}.norm_out"
        table |= _inside(f"{side}.mid_block.attentions.0", f"{side}.mid.attn_1", _VAE_ATTENTION)
        for index in range(2):
            table[f"{side}.mid_block.resnets.{index}"] = f"{side}.mid.block_{index + 1}"
    for level in range(n_levels):
        down, up = f"encoder.down.{level}", f"decoder.up.{n_levels - 1 - level}"
        table[f"encoder.down_blocks.{level}.downsamplers.0.conv"] = f"{down}.downsample.conv"
        table[f"decoder.up_blocks.{level}.upsamplers.0.conv"] = f"{up}.upsample.conv"
        for layer in range(config.layers_per_block + 1):
            table |= _inside(f"encoder.down_blocks.{level}.resnets.{layer}", f"{down}.block.{layer}", _VAE_RESNET)
            table |= _inside(f"decoder.up_blocks.{level}.resnets.{layer}", f"{up}.block.{layer}", _VAE_RESNET)
    return table


def open_clip_name(name: str) -> str:
    """A text encoder's name, without OPEN_CLIP; of the three projections that are stored as one, that of the one."""
    changed = their_name(name, OPEN_CLIP_NAMES)
    head, number, rest = _split_layer(changed)
    if not number:
        return changed
    for part in FUSED:
        if rest.startswith(f"self_attn.{part}."):
            return f"{head}.{number}.attn.in_proj_{rest.rpartition('.')[2]}"
    return f"{head}.{number}.{their_name(rest, OPEN_CLIP_LAYER)}"


def _split_layer(name: str) -> tuple[str, str, str]:
    head = OPEN_CLIP_NAMES["encoder.layers"]
    number, _, rest = name.removeprefix(f"{head}.").partition(".") if name.startswith(f"{head}.") else ("", "", "")
    return head, number, rest


def _inside(ours: str, theirs: str, parts: Mapping[str, str]) -> dict[str, str]:
    """A module's entry, with those of its parts."""
    return {ours: theirs} | {f"{ours}.{part}": f"{theirs}.{other}" for part, other in parts.items()}


def numbers_below(names: Iterable[str], prefix: str) -> int:
    """How many there are of `prefix`0, `prefix`1, … among the beginnings of names."""
    found = {name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)}
    n = 0
    while str(n) in found:
        n += 1
    return n
