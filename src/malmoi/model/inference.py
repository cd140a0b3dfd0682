"""A model as it answers: projections of one input fused, weights in the format that is read fastest.

Decoding one token reads every weight once, so its speed is bytes over bandwidth: bfloat16 halves float32, int8 halves
bfloat16, int4 halves int8 (Dettmers et al. 2022, arXiv:2208.07339; Frantar et al. 2022, arXiv:2210.17323). Only weights
are quantised, activations are not; the kernels are PyTorch's.
"""

from difflib import get_close_matches
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from malmoi import device
from malmoi.errors import ConfigError
from malmoi.model.lora import merged
from malmoi.model.transformer import LanguageModel

Weights = Literal["auto", "float32", "bfloat16", "int8", "int4"]
GROUP = 32
# Projections of one input: the first takes over the others.
FUSED = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("up_proj",), ("down_proj",))


def weights_named(name: str) -> Weights:
    """A format by its name. Raises ConfigError that names the nearest."""
    names = get_args(Weights)
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ConfigError(f"weights: {name}: no such format; {hint}they are {', '.join(names)}")
    return cast(Weights, name)


class Int8Linear(nn.Module):
    """x · (int8 weight · scale)ᵀ + bias, one scale per output, symmetric. Products run in bfloat16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.float()
        scale = weight.abs().amax(dim=1).clamp_min(1e-10) / 127
        self.weight: Tensor
        self.scale: Tensor
        self.bias = bias
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale.to(torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        out = torch._weight_int8pack_mm(x.to(torch.bfloat16).flatten(0, -2), self.weight, self.scale)
        return _shaped(out, x, self.bias)


class Int4Linear(nn.Module):
    """x · dequantised weightᵀ + bias: 4 bits a weight, a scale and a zero for each group of 32 inputs."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        groups = weight.float().view(len(weight), -1, GROUP)
        low, high = groups.amin(dim=2, keepdim=True), groups.amax(dim=2, keepdim=True)
        scale = (high - low).clamp_min(1e-10) / 15
        codes = ((groups - low) / scale).round().clamp(0, 15).to(torch.int32).flatten(1)
        # PyTorch's kernel reads (code - 8) · scale + zero.
        zero = low + 8 * scale
        self.weight: Tensor
        self.scale_and_zero: Tensor
        self.bias = bias
        self.register_buffer("weight", torch._convert_weight_to_int4pack_for_cpu(codes, 1))
        pairs = torch.cat((scale, zero), dim=2).transpose(0, 1).contiguous()
        self.register_buffer("scale_and_zero", pairs.to(torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.to(torch.bfloat16).flatten(0, -2)
        out = torch._weight_int4pack_mm_for_cpu(flat, self.weight, GROUP, self.scale_and_zero)
        return _shaped(out, x, self.bias)


class PackedLinear(nn.Module):
    """x weightᵀ + bias in bfloat16, the weight laid out once as oneDNN reads it fastest.

    On a CPU, for 1 to 32 rows, 0.6 of the time of the plain product, which lays it out anew each time.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias = None if bias is None else bias.to(torch.bfloat16)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(torch.bfloat16).contiguous(), 1)
        self.register_buffer("weight", packed, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.to(torch.bfloat16).flatten(0, -2)
        out = torch.ops.mkldnn._linear_pointwise(flat, self.weight, self.bias, "none", [], "")
        return out.view(*x.shape[:-1], -1)


def _shaped(out: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
    out = out.view(*x.shape[:-1], -1)
    return out if bias is None else out + bias.to(out.dtype)


def dtype_of(weights: Weights) -> torch.dtype:
    """What activations are computed in: quantised weights are multiplied in bfloat16."""
    if weights == "auto":
        return device.current().compute_dtype
    return torch.float32 if weights == "float32" else torch.bfloat16


@torch.no_grad()
def for_inference(model: LanguageModel, weights: Weights = "auto") -> LanguageModel:
    """A copy that decodes faster; embedding and norms are shared with `model`, which is left as it is."""
    fast = merged(model)  # shares what it does not change
    if weights == "auto":
        weights = "float32" if dtype_of(weights) == torch.float32 else "bfloat16"
    for module in list(fast.modules()):
        for first, *others in FUSED:
            projections = [getattr(module, name, None) for name in (first, *others)]
            if isinstance(projections[0], nn.Linear):
                setattr(module, first, _fused([p for p in projections if p is not None], weights))
                for name in others:
                    setattr(module, name, None)
    # The head decides which token comes next: 4 bits are too few for it.
    fast.lm_head = _fused([fast.lm_head], "int8" if weights == "int4" else weights)  # type: ignore[assignment]
    return fast.eval()


def _fused(projections: list[nn.Linear], weights: Weights) -> nn.Module:
    weight = (
        torch.cat([projection.weight for projection in projections]) if len(projections) > 1 else projections[0].weight
    )
    bias = None if projections[0].bias is None else torch.cat([projection.bias for projection in projections])
    if weights in ("int8", "int4"):
        # PyTorch's kernels do not look, and read past the end.
        if weight.shape[0] % 16 or weight.shape[1] % GROUP:
            shape = " x ".join(map(str, weight.shape))
            raise ConfigError(f"weights: {weights} needs widths in steps of {GROUP}, and a matrix here is {shape}")
        if weight.device.type != "cpu":
            raise ConfigError(f"weights: {weights} runs on a CPU alone so far; bfloat16 runs here")
        return (Int8Linear if weights == "int8" else Int4Linear)(weight, bias)
    if weights == "bfloat16" and weight.device.type == "cpu" and torch._C._has_mkldnn:
        return PackedLinear(weight, bias)
    dtype = torch.float32 if weights == "float32" else torch.bfloat16
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return linear
