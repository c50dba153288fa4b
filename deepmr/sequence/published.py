"""Published networks of a profile and a log count, with the parameter names of bpnet-lite: what its state dicts fit.

They return (profile logits (batch, strands, positions), log counts (batch, 1)): say what is measured of them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import nn

from deepmr.errors import InputError

FIRST, LAST = 21, 75  # bases that a filter of the first convolution and of the profile head covers
Outputs = tuple[Float[torch.Tensor, "batch strands positions"], Float[torch.Tensor, "batch 1"]]


class BPNet(nn.Module):
    """BPNet as in bpnet-lite: a convolution, dilated residual convolutions, a profile head and a count head.

    Parameters
    ----------
    n_filters : channels of every convolution.
    n_layers : residual convolutions of width 3, with dilations 2, 4, 8, ...
    n_outputs : strands of the profile.
    n_control_tracks : control tracks beside the sequence; 0 for none.
    profile_output_bias : whether the profile head has a bias.
    count_output_bias : whether the count head has a bias.
    trimming : bases without a profile at each end; by default 47 and the sum of the dilations.
    length : bases of a sequence, to check that a profile is left; the weights do not depend on it.

    Raises
    ------
    InputError
        When trimming leaves no profile.

    Notes
    -----
    The count head sees the mean over the profile and 37 bases around it and, with control tracks, log(1 + their sum)
    there. Its output is the log of the counts of all strands together (trained on log(1 + count)). Control tracks that
    are not given are zeros.

    References
    ----------
    Avsec Z, Weilert M, Shrikumar A, et al. (2021). Base-resolution models of transcription-factor binding reveal soft
    motif syntax. Nat Genet 53:354-366. doi:10.1038/s41588-021-00782-6. bpnet-lite: https://github.com/jmschrei/bpnet-lite
    """

    def __init__(
        self,
        n_filters: int = 64,
        n_layers: int = 8,
        n_outputs: int = 2,
        n_control_tracks: int = 2,
        profile_output_bias: bool = True,
        count_output_bias: bool = True,
        trimming: int | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__()
        dilations = [2**k for k in range(1, n_layers + 1)]
        self.trimming = LAST // 2 + FIRST // 2 + sum(dilations) if trimming is None else trimming
        if self.trimming < 0 or (length is not None and length <= 2 * self.trimming):
            raise InputError(f"trimming of {self.trimming} at each end leaves no profile of {length} bases")
        self.n_control_tracks = n_control_tracks
        self.iconv = nn.Conv1d(4, n_filters, FIRST, padding=FIRST // 2)
        self.irelu = nn.ReLU()
        self.rconvs = nn.ModuleList(nn.Conv1d(n_filters, n_filters, 3, padding=d, dilation=d) for d in dilations)
        self.rrelus = nn.ModuleList(nn.ReLU() for _ in dilations)
        channels = n_filters + n_control_tracks
        self.fconv = nn.Conv1d(channels, n_outputs, LAST, padding=LAST // 2, bias=profile_output_bias)
        self.linear = nn.Linear(n_filters + (n_control_tracks > 0), 1, bias=count_output_bias)

    def forward(
        self,
        x: Float[torch.Tensor, "batch 4 length"],
        controls: Float[torch.Tensor, "batch tracks length"] | None = None,
    ) -> Outputs:
        """Predict the profile and the log count."""
        start, end = self.trimming, x.shape[2] - self.trimming
        counted = slice(max(start - LAST // 2, 0), end + LAST // 2)
        if controls is None and self.n_control_tracks:
            shape = (x.shape[0], self.n_control_tracks, x.shape[2])
            controls = torch.zeros(shape, dtype=x.dtype, device=x.device)  # not x.new_zeros: it would seem to need x
        x = self.irelu(self.iconv(x))
        for convolution, relu in zip(self.rconvs, self.rrelus, strict=True):
            x = x + relu(convolution(x))
        profile, mean = x, x[:, :, counted].mean(dim=2)
        if controls is not None:
            profile = torch.cat([profile, controls], dim=1)
            mean = torch.cat([mean, torch.log1p(controls[:, :, counted].sum(dim=(1, 2)))[:, None]], dim=1)
        return self.fconv(profile)[:, :, start:end], self.linear(mean)


class ChromBPNet(nn.Module):
    """ChromBPNet as in bpnet-lite: an accessibility network and a bias network of the enzyme, both `BPNet`.

    Parameters
    ----------
    accessibility : options of the accessibility network; by default 512 filters, 8 layers, one strand, no controls.
    bias : options of the bias network; by default 128 filters, 4 layers, one strand, no controls.
    length : bases of a sequence, to check that a profile is left; the weights do not depend on it.

    Raises
    ------
    InputError
        When trimming leaves no profile, or the bias network's profile is the shorter one.

    Notes
    -----
    Profile logits are added, the bias network's cut to the length of the other; counts are added:
    log(e^accessibility + e^bias). Without the bias, import the weights under `accessibility.` as `bpnet`.

    References
    ----------
    Pampari A, Shcherbina A, et al. (2024). ChromBPNet: bias factorized, base-resolution deep learning models
    of chromatin accessibility reveal cis-regulatory sequence syntax, transcription factor footprints and regulatory
    variants. bioRxiv. doi:10.1101/2024.12.25.630221
    """

    def __init__(
        self,
        accessibility: Mapping[str, Any] = MappingProxyType({}),
        bias: Mapping[str, Any] = MappingProxyType({}),
        length: int | None = None,
    ) -> None:
        super().__init__()
        common = {"n_outputs": 1, "n_control_tracks": 0, "length": length}
        self.bias = BPNet(**{"n_filters": 128, "n_layers": 4, **common, **bias})
        self.accessibility = BPNet(**{"n_filters": 512, "n_layers": 8, **common, **accessibility})
        self.excess = self.accessibility.trimming - self.bias.trimming
        if self.excess < 0:
            raise InputError(
                f"trimming of the bias network must be at most that of the other, {self.accessibility.trimming}; "
                f"got {self.bias.trimming}"
            )

    def forward(self, x: Float[torch.Tensor, "batch 4 length"]) -> Outputs:
        """Predict the profile and the log count."""
        profile, count = self.accessibility(x)
        bias_profile, bias_count = self.bias(x)
        bias_profile = bias_profile[:, :, self.excess : self.excess + profile.shape[2]]
        return profile + bias_profile, torch.logaddexp(count, bias_count)


PUBLISHED: dict[str, type[nn.Module]] = {"bpnet": BPNet, "chrombpnet": ChromBPNet}
