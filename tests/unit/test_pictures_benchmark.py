"""The benchmark of pictures: weights do not depend on the layout, and a row is told in one line."""

import pytest
import torch

from benchmarks.picture_sides import UNETS, empty
from benchmarks.pictures import ROWS, line, main
from malmoi.image.unet import UNet


def test_weights_are_the_same_each_time_whatever_their_layout() -> None:
    built = [empty(lambda: UNet(UNETS["tiny"]), torch.float32, one) for one in (torch.channels_last, torch.contiguous_format)]  # fmt: skip # noqa: E501
    for name, weight in built[0].state_dict().items():
        assert torch.equal(weight, built[1].state_dict()[name])


def test_a_figure_is_one_line_and_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"seconds": 1.0, "peer_seconds": 2.0, "ratio": 0.5, "least": 0.4, "most": 0.6, "peer": "diffusers"}
    told = line({**found, "row": "unet", "dtype": "float32", "goal": ROWS[0].goal, "peak_bytes": 1e9, "peer_peak_bytes": 2e9})  # fmt: skip # noqa: E501
    assert "ratio 0.50 (0.40 to 0.60), goal 1.00" in told and "1,000 MB, peer 2,000 MB" in told
    with pytest.raises(SystemExit):
        main(["unett"])
    assert "no such row: unett" in capsys.readouterr().err
