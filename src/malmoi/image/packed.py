"""Weights in oneDNN's layouts, for networks that only draw on a CPU.

A plain product converts its weights in each call, which takes longer than the product itself where pictures are small;
and MKL, which computes plain float32 products, is slow on processors that are not Intel's. Numbers are equal to 1e-5 of
the largest value.
"""

import functools
from typing import cast

import torch
from torch import Tensor, nn

from malmoi import device
from malmoi.image.model import PictureModel

SIDE = 16
"""Of the pictures that layouts are chosen for; others are right too."""
LARGE = 2**20
"""Bytes of weights from which on freed memory is returned at once."""


class PackedLinear(nn.Linear):
    """`nn.Linear` without gradients. weight: as oneDNN keeps it; `weight.to_dense()` is the plain one"""

    def __init__(self, plain: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.register_parameter("bias", plain.bias)
        self.pack(plain.weight)

    def pack(self, weight: Tensor) -> None:
        """weight: (n_out, n_in)"""
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self.weight = nn.Parameter(packed, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return made


class PackedPlaces(PackedLinear):
    """`nn.Conv2d` that sees single places: a product over channels, whatever the height and width. oneDNN has layouts
    for 1 × 1 convolutions too, but in another size than the one they were chosen for they can take 300 times as long.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_channels, plain.out_channels
        self.register_parameter("bias", cast(nn.Parameter | None, plain.bias))
        self.pack(plain.weight)

    def pack(self, weight: Tensor) -> None:
        """weight: (n_out, n_in), with or without height and width of 1"""
        super().pack(weight.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PackedConv(nn.Conv2d):
    """`nn.Conv2d` without gradients; what it returns has its channels last in memory. weight: as of `PackedLinear`"""

    def __init__(self, plain: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.in_channels, self.out_channels = plain.in_channels, plain.out_channels
        self.register_parameter("bias", cast(nn.Parameter | None, plain.bias))
        assert isinstance(plain.padding, tuple)
        self.how = (plain.padding, plain.stride, plain.dilation, plain.groups)
        self.pack(plain.weight)

    def pack(self, weight: Tensor) -> None:
        """weight: (n_out, n_in, height, width)"""
        size = (2, self.in_channels, SIDE, SIDE)
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight.detach().contiguous(), *self.how, size)
        self.weight = nn.Parameter(packed, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.how, "none", [], "")
        return made


def for_drawing(model: PictureModel) -> PictureModel:
    """The same model, with its weights packed in place if this processor computes so. It cannot be trained or saved
    any more; LoRA can still be merged."""
    for network in (model.denoiser, model.autoencoder, *vars(model.text).values()):
        if isinstance(network, nn.Module):
            pack(network)
    return model


def pack(network: nn.Module) -> None:
    """Pack the weights of a network's products in place, one after the other: it needs no memory for all of them."""
    for name in [name for name, _ in network.named_children()]:
        part = network.get_submodule(name)
        if not isinstance(part, nn.Linear | nn.Conv2d):
            pack(part)
        elif not isinstance(part, PackedLinear | PackedConv) and _is_fast(part.weight):
            setattr(network, name, _packed(part))
            if part.weight.nbytes >= LARGE:
                del part
                device.release_memory()  # the plain weights: they are as large as all that is packed


def _packed(part: nn.Linear | nn.Conv2d) -> nn.Module:
    if isinstance(part, nn.Linear):
        return PackedLinear(part)
    is_of_places = part.kernel_size == (1, 1) == part.stride and part.padding == (0, 0) and part.groups == 1
    return PackedPlaces(part) if is_of_places else PackedConv(part)


def _is_fast(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and _works(weight.dtype)


@functools.cache
def _works(dtype: torch.dtype) -> bool:
    """Whether PyTorch has these products here: not each build and processor has what oneDNN needs."""
    try:
        with torch.inference_mode():
            PackedLinear(nn.Linear(8, 8, dtype=dtype))(torch.ones(2, 8, dtype=dtype))
            PackedConv(nn.Conv2d(8, 8, 3, dtype=dtype))(torch.ones(2, 8, 4, 4, dtype=dtype))
    except (RuntimeError, AttributeError):
        return False
    return True
