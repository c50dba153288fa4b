"""True causal effects of a simulation, each with its definition."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from deepmr import checks
from deepmr.anscombe import anscombe
from deepmr.simulate.labels import binding_probabilities, expected_counts, expected_targets
from deepmr.simulate.options import ROLES, TASKS, SimulationOptions
from deepmr.simulate.sequences import ABSENT, SimulatedLoci

Definition = Literal["averaged", "realised_z", "released"]
Mark = Literal["exposure", "outcome"]

_SLOPE = "sum(dx dy) / sum(dx^2) over all substitutions in the planted motif of the factor that is the cause; "
DEFINITIONS: dict[Definition, str] = {
    "averaged": _SLOPE + "dx, dy: differences of E[2 sqrt(count + 3/8) | sequence], averaged over Poisson noise and "
    "the sequence-independent confounder z, with the sequence confounder as realised",
    "realised_z": _SLOPE + "dx, dy: differences of E[2 sqrt(count + 3/8) | sequence, z], averaged over Poisson noise, "
    "at the locus' own z and with the sequence confounder as realised",
    "released": _SLOPE + "dx, dy: differences of 2 sqrt(expected count + 3/8) without either confounder, with motifs "
    "smoothed by 1e-3 and the background of G and T exchanged, as in the originally released code",
}
RELEASED_SMOOTHING = 1e-3
RELEASED_BACKGROUND = (0.27, 0.23, 0.27, 0.23)  # that code lists the background as A C T G, the bases as A C G T


@dataclass(frozen=True, slots=True, kw_only=True)
class MotifEdits:
    """Every substitution in the planted motif of one factor: edit i replaces one base of one locus.

    Attributes
    ----------
    locus : row of the locus, never decreasing.
    offset : 0-based position in the locus.
    base : code of the new base.
    codes : the edited sequences.
    """

    locus: Int[np.ndarray, "edits"]
    offset: Int[np.ndarray, "edits"]
    base: UInt8[np.ndarray, "edits"]
    codes: UInt8[np.ndarray, "edits length"]


def edit_motifs(loci: SimulatedLoci, *, mark: Mark) -> MotifEdits:
    """Make all 3 x width substitutions in the planted motif of every locus that has it.

    Parameters
    ----------
    loci : sequences and where their motifs are.
    mark : whose factor's motif is edited.
    """
    role = ROLES.index(mark)
    width = int(loci.motifs.widths[role])
    rows = np.flatnonzero(loci.starts[:, role] != ABSENT)
    locus = np.repeat(rows, 3 * width)
    offset = loci.starts[locus, role] + np.tile(np.repeat(np.arange(width), 3), len(rows))
    step = np.tile(np.arange(1, 4, dtype=np.uint8), len(rows) * width)
    codes = loci.codes[locus]
    edit = np.arange(len(locus))
    base = (codes[edit, offset] + step) % 4
    codes[edit, offset] = base
    return MotifEdits(locus=locus, offset=offset, base=base, codes=codes)


def true_effects(
    loci: SimulatedLoci,
    *,
    options: SimulationOptions,
    exposure: Mark = "exposure",
    definition: Definition = "averaged",
) -> pd.DataFrame:
    """Compute the true causal effect at every locus that has the motif of the cause.

    Parameters
    ----------
    loci : sequences and where their motifs are.
    options : the simulation that they belong to.
    exposure : mark that is taken as the cause: "outcome" asks for the reverse effect, which is 0 but for weak sites.
    definition : what the effect is of; `DEFINITIONS` states each in words.

    Returns
    -------
    One row a locus: locus, kind, exposure, outcome, definition, beta, n_edits, and the two sums whose ratio beta is. A
    locus none of whose edits changes the cause has no effect and is left out.

    Notes
    -----
    beta = sum(dx dy) / sum(dx^2). At a locus without the motif of the other factor both sums can be tiny; pool such
    loci by their sums, since a mean of their ratios means nothing.
    """
    checks.one_of("definition", definition, get_args(Definition))
    cause = ROLES.index(exposure)
    edits = edit_motifs(loci, mark=exposure)
    reference = _values(loci.codes, loci.z, options, definition)
    delta = _values(edits.codes, loci.z[edits.locus], options, definition) - reference[edits.locus]
    dx, dy = delta[:, cause], delta[:, 1 - cause]
    sums = {
        "n_edits": np.bincount(edits.locus, minlength=len(loci)),
        "sum_dxdy": np.bincount(edits.locus, dx * dy, minlength=len(loci)),
        "sum_dx2": np.bincount(edits.locus, dx * dx, minlength=len(loci)),
    }
    names = {"exposure": TASKS[cause], "outcome": TASKS[1 - cause]}
    frame = pd.DataFrame({"locus": loci.names, "kind": loci.kind, **names})
    frame = frame.assign(definition=definition, beta=0.0, **sums)
    frame = frame[frame["sum_dx2"] > 0].reset_index(drop=True)
    return frame.assign(beta=frame["sum_dxdy"] / frame["sum_dx2"])


def global_effects(truth: pd.DataFrame) -> pd.DataFrame:
    """Summarise the effects of one direction over loci.

    Parameters
    ----------
    truth : result of `true_effects`, one row a locus.

    Returns
    -------
    Rows for the loci with both motifs (mean, with its standard deviation over loci, median, and the pooled ratio of
    sums) and for those with the motif of the cause alone (the pooled ratio only: a mean of ratios whose denominators
    can be near 0 has no stable value). `sd` is NaN where it does not apply.
    """
    rows = []
    for kind, loci in truth.groupby("kind", sort=True):
        labels = {name: loci[name].iloc[0] for name in ("exposure", "outcome", "definition")}
        about = {**labels, "kind": kind, "n_loci": len(loci)}
        if kind == "both":
            rows.append({**about, "statistic": "mean", "beta": loci["beta"].mean(), "sd": loci["beta"].std(ddof=0)})
            rows.append({**about, "statistic": "median", "beta": loci["beta"].median(), "sd": np.nan})
        pooled = loci["sum_dxdy"].sum() / loci["sum_dx2"].sum()
        rows.append({**about, "statistic": "pooled ratio", "beta": pooled, "sd": np.nan})
    columns = ["exposure", "outcome", "definition", "kind", "statistic", "beta", "sd", "n_loci"]
    return pd.DataFrame(rows, columns=columns)


def _values(
    codes: UInt8[np.ndarray, "loci length"],
    z: UInt8[np.ndarray, "loci"],
    options: SimulationOptions,
    definition: Definition,
) -> Float[np.ndarray, "loci 2"]:
    """Return the two marks of each sequence on the scale that effects are differences of."""
    if definition == "averaged":
        return expected_targets(codes, options=options)
    if definition == "realised_z":
        return expected_targets(codes, options=options, z=z)
    plain = replace(options, scenario="unconfounded", smoothing=RELEASED_SMOOTHING)
    binding = binding_probabilities(codes, options=plain, background=RELEASED_BACKGROUND)
    return anscombe(expected_counts(binding, options=plain, z=0))
