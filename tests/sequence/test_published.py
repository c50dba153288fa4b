"""BPNet and ChromBPNet against bpnet-lite itself: see tests/oracle/README.md."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from deepmr.errors import InputError
from deepmr.io.models import load_state
from deepmr.sequence.measured import Measured
from deepmr.sequence.models import build_network
from deepmr.sequence.profiles import ProfileScore
from deepmr.sequence.published import PUBLISHED, BPNet, ChromBPNet

KEPT = safetensors.torch.load_file(Path(__file__).parents[1] / "oracle" / "bpnet_lite.safetensors")
X, LENGTH = KEPT["x"], 160
NETWORKS = {
    "stranded": ("bpnet", {"n_filters": 4, "n_layers": 2}),
    "plain": ("bpnet", {"n_filters": 4, "n_layers": 1, "n_outputs": 1, "n_control_tracks": 0, "trimming": 20}),
    "chrom": (
        "chrombpnet",
        {
            "accessibility": {"n_filters": 4, "n_layers": 2, "profile_output_bias": False},
            "bias": {"n_filters": 3, "n_layers": 1},
        },
    ),
}


def network(name):
    architecture, arguments = NETWORKS[name]
    made = build_network(PUBLISHED[architecture], arguments, n_tasks=1, length=LENGTH)
    state = {key.partition("/")[2]: value for key, value in KEPT.items() if key.startswith(f"{name}/")}
    load_state(made, state, where=name)
    return made.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_predicts_what_bpnet_lite_does(name):
    with torch.inference_mode():
        profile, count = network(name)(X)
        score = Measured(network(name), [ProfileScore()])(X)
    torch.testing.assert_close(profile, KEPT[f"out/{name}/profile"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(count, KEPT[f"out/{name}/count"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(score, KEPT[f"out/{name}/score"], rtol=1e-5, atol=1e-6)


def test_control_tracks_are_used():
    with torch.inference_mode():
        profile, count = network("stranded")(X, KEPT["controls"])
        zeros = network("stranded")(X, torch.zeros_like(KEPT["controls"]))
    torch.testing.assert_close(profile, KEPT["out/controlled/profile"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(count, KEPT["out/controlled/count"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(zeros[0], KEPT["out/stranded/profile"], rtol=1e-5, atol=1e-6)


def test_published_sizes():
    profile, count = BPNet()(torch.zeros(1, 4, 2114))
    assert profile.shape == (1, 2, 1000)
    assert count.shape == (1, 1)
    with torch.device("meta"):
        whole = ChromBPNet(length=2114)
        assert whole(torch.zeros(1, 4, 2114))[0].shape == (1, 1, 1000)
    assert whole.accessibility.iconv.out_channels == 512
    assert whole.bias.iconv.out_channels == 128
    assert len(whole.bias.rconvs) == 4


@pytest.mark.parametrize(
    ("architecture", "arguments", "said"),
    [
        (BPNet, {"n_layers": 2}, "BPNet: trimming of 53 at each end leaves no profile of 106 bases"),
        (BPNet, {"trimming": -1}, "trimming of -1"),
        (BPNet, {"filters": 3}, "BPNet takes the arguments n_filters, n_layers"),
        (
            ChromBPNet,
            {"accessibility": {"trimming": 3}, "bias": {"trimming": 4}},
            "ChromBPNet: trimming of the bias network must be at most that of the other, 3; got 4",
        ),
        (ChromBPNet, {"bias": {"filters": 3}}, "unexpected keyword argument 'filters'"),
    ],
)
def test_what_cannot_be_built(architecture, arguments, said):
    with pytest.raises(InputError, match=said):
        build_network(architecture, arguments, n_tasks=1, length=106)
