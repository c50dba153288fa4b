"""Shuffled motifs: what edits at the instruments' positions do where the site is no longer there."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from deepmr import checks
from deepmr.errors import InputError
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.lines import exposure_of
from deepmr.mr.sensitivity.findings import home
from deepmr.types import Instruments, SummaryStats


def shuffled_motifs(instruments: Instruments, shuffled: SummaryStats) -> pd.DataFrame:
    """Compare the effects of instruments with those of edits at the same positions of shuffled sequences.

    Parameters
    ----------
    instruments : of one exposure.
    shuffled : effects of edits of shuffled copies (`sequence.alphabet.dinucleotide_shuffle`) of some or all of the
        loci, under the same names, at the instruments' positions.

    Returns
    -------
    Table "shuffled" of `schema.DIAGNOSTICS`: a row a locus that has both, then all of them together (`*`).

    Raises
    ------
    InputError : when no locus has both.

    Notes
    -----
    A network that has learned a site has next to no effect where the site is shuffled: ratios near 0. Ratios near 1 say
    that it reads composition or position, and an instrument is then no knock-out of a site. A shuffle makes a new site
    now and then, so single loci say little.
    """
    for trait in (instruments.exposure, instruments.outcome):
        checks.one_of("trait", trait, shuffled.traits)
    place = pd.Index(instruments.loci).get_indexer(pd.Index(shuffled.variants["locus"].astype(str)))
    n_loci = len(instruments.loci)
    here = place >= 0
    n = np.bincount(place[here], minlength=n_loci)
    both = (n > 0) & (instruments.counts > 0)
    if not both.any():
        raise InputError("no locus has both instruments and edits of its shuffled sequence")
    x, _ = exposure_of(instruments)
    owner = home(instruments)
    real = {"exposure": x, "outcome": instruments.beta_outcome.astype(float)}
    columns = {}
    whole: dict[str, float] = {}
    for name, trait in (("exposure", instruments.exposure), ("outcome", instruments.outcome)):
        effect = shuffled.beta[here, shuffled.traits.index(trait)].astype(float)
        columns[f"rms_{name}"] = _rms(real[name], owner, n_loci)
        columns[f"rms_{name}_shuffled"] = _rms(effect, place[here], n_loci)
        ends = (real[name][both[owner]], effect[both[place[here]]])
        whole |= {f"rms_{name}{s}": float(np.sqrt(np.mean(v**2))) for s, v in zip(("", "_shuffled"), ends, strict=True)}
    frame = pd.DataFrame({"locus": np.asarray(instruments.loci, dtype=object), "n": n, **columns})[both]
    frame = pd.concat(
        [frame, pd.DataFrame({"locus": ["*"], "n": [int(n[both].sum())], **{k: [v] for k, v in whole.items()}})],
        ignore_index=True,
    )
    for name in ("exposure", "outcome"):
        below = frame[f"rms_{name}"].to_numpy(float)
        frame[f"ratio_{name}"] = frame[f"rms_{name}_shuffled"].to_numpy(float) / np.where(below > 0, below, np.inf)
    return declared("shuffled", frame.assign(exposure=instruments.exposure, outcome=instruments.outcome))


def _rms(values: Float[np.ndarray, "rows"], owner: Int[np.ndarray, "rows"], n: int) -> Float[np.ndarray, "loci"]:
    count = np.maximum(np.bincount(owner, minlength=n), 1)
    return np.sqrt(np.bincount(owner, weights=values**2, minlength=n) / count)
