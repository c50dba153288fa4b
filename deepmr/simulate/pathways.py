"""Loci with a second pathway: a motif that raises the exposure, and the outcome also by a route of its own."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from deepmr import checks
from deepmr.anscombe import anscombe_mean
from deepmr.errors import InputError
from deepmr.simulate.labels import OFFSET, binding_probabilities
from deepmr.simulate.motifs import MotifSet
from deepmr.simulate.options import SimulationOptions, make_generator
from deepmr.simulate.sequences import ABSENT, SimulatedLoci
from deepmr.simulate.truth import MotifEdits, edit_motifs
from deepmr.types import ALPHABET

SECOND = "AP1"
# TGACTCA, as JUN and FOS bind it, with loose ends: rare by chance, so that an edit of a planted site is not made up for
# by another site. The confounder's motif of the paper has sites by chance in most loci, and hardly varies.
_CORE = "TGACTCA"
_END = (0.32, 0.2, 0.28, 0.2)


def pathway_motifs(motifs: MotifSet) -> MotifSet:
    """Return the motifs with the second pathway's in the place of the confounder's.

    Parameters
    ----------
    motifs : of exposure and outcome; the third is replaced.
    """
    core = np.eye(4)[[ALPHABET.index(base) for base in _CORE]]
    matrix = np.concatenate([[_END], core, [_END[::-1]]])
    return MotifSet(names=(*motifs.names[:2], SECOND), matrices=(*motifs.matrices[:2], matrix))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pathways:
    """What a second motif does, beside the motifs of exposure and outcome.

    Attributes
    ----------
    options : the simulation; its scenario must be "sequence", whose third motif, in half of the loci, is the second
        motif here; `pathway_motifs` has one that suits.
    through : exposure counts of the bound second motif, in units of those of the exposure's own.
    direct : outcome counts that it adds by its own route, in the same units (alpha, not alpha gamma); 0 leaves it a
        second, valid way to move the exposure.
    """

    options: SimulationOptions
    through: float = 0.8
    direct: float = 0.0

    def __post_init__(self) -> None:
        if self.options.scenario != "sequence":
            raise InputError(f"a second pathway needs the scenario 'sequence'; got {self.options.scenario!r}")
        for name in ("through", "direct"):
            checks.non_negative(name, np.array([getattr(self, name)]))


def pathway_counts(codes: UInt8[np.ndarray, "loci length"], *, pathways: Pathways) -> Float[np.ndarray, "loci 2"]:
    """Return the means of the exposure's and the outcome's counts.

    Parameters
    ----------
    codes : sequences, edited or not.
    pathways : what binds, and what follows.

    Notes
    -----
    With p_e, p_o and p_2 the binding of the exposure's, the outcome's and the second motif,

        exposure = 1 + alpha (p_e + through p_2),
        outcome  = 1 + gamma alpha (p_e + through p_2) p_o + alpha direct p_2:

    the outcome follows the exposure, whichever motif raised it, and what `direct` adds is not by way of the exposure.
    """
    options = pathways.options
    bound = binding_probabilities(codes, options=options)
    raised = options.alpha * (bound.exposure + pathways.through * bound.confounder)
    direct = options.alpha * pathways.direct * bound.confounder
    return np.stack([OFFSET + raised, OFFSET + options.gamma * raised * bound.outcome + direct], axis=1)


def pathway_targets(codes: UInt8[np.ndarray, "loci length"], *, pathways: Pathways) -> Float[np.ndarray, "loci 2"]:
    """Return the expected Anscombe-transformed counts, what a perfect network predicts.

    Parameters
    ----------
    codes : sequences, edited or not.
    pathways : what binds, and what follows.
    """
    return anscombe_mean(pathway_counts(codes, pathways=pathways))


def draw_pathway_counts(loci: SimulatedLoci, *, pathways: Pathways, seed: int) -> Int[np.ndarray, "loci 2"]:
    """Draw Poisson counts of exposure and outcome.

    Parameters
    ----------
    loci : sequences of one split.
    pathways : what binds, and what follows.
    seed : of the whole simulation.
    """
    rng = make_generator(seed=seed, split=loci.split, purpose="noise")
    return rng.poisson(pathway_counts(loci.codes, pathways=pathways))


def pathway_effects(loci: SimulatedLoci, *, pathways: Pathways) -> pd.DataFrame:
    """Compute the true effect of the exposure on the outcome at every locus with the exposure's motif.

    Parameters
    ----------
    loci : sequences and where their motifs are; the third is the second motif.
    pathways : what binds, and what follows.

    Returns
    -------
    One row a locus: locus, kind, second (whether it has the second motif), beta, sum_dx2, and beta_second, the ratio by
    the second motif's edits, NaN at loci without it. Where sum_dx2 is next to 0, since another site by chance makes up
    for an edit, beta means nothing.

    Notes
    -----
    beta = sum(dx dy) / sum(dx^2) over all substitutions in the exposure's own motif, noise-free: those act on the
    outcome by way of the exposure alone. At a locus whose second motif is bound, counts that it adds to the outcome
    make the square root less steep, so the effect is smaller there; it is still the effect of the exposure.
    """
    (own, size), (other, _) = (
        _slopes(loci, edits, pathways) for edits in (edit_motifs(loci, mark="exposure"), _second(loci))
    )
    frame = pd.DataFrame({"locus": loci.names, "kind": loci.kind, "second": loci.starts[:, 2] != ABSENT})
    frame = frame.assign(beta=own, sum_dx2=size, beta_second=other)
    return frame[np.isfinite(own)].reset_index(drop=True)


def _second(loci: SimulatedLoci) -> MotifEdits:
    """Make all substitutions in the second motif: the same loci with motifs in another order."""
    first, outcome, second = loci.motifs.names, loci.motifs.matrices, loci.starts
    swapped = replace(
        loci,
        starts=second[:, [2, 1, 0]],
        motifs=replace(loci.motifs, names=first[::-1], matrices=(outcome[2], outcome[1], outcome[0])),
    )
    return edit_motifs(swapped, mark="exposure")


def _slopes(
    loci: SimulatedLoci, edits: MotifEdits, pathways: Pathways
) -> tuple[Float[np.ndarray, "loci"], Float[np.ndarray, "loci"]]:
    """Return the ratio of every locus, NaN where it has none, and its denominator."""
    reference = pathway_targets(loci.codes, pathways=pathways)
    delta = pathway_targets(edits.codes, pathways=pathways) - reference[edits.locus]
    top = np.bincount(edits.locus, delta[:, 0] * delta[:, 1], minlength=len(loci))
    bottom = np.bincount(edits.locus, delta[:, 0] ** 2, minlength=len(loci))
    return np.divide(top, bottom, out=np.full(len(loci), np.nan), where=bottom > 0), bottom
