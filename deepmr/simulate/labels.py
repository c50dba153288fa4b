"""From sequences to counts: binding, expected counts, their expectation on the square-root scale, and draws."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.special import expit

from deepmr.anscombe import anscombe_mean
from deepmr.simulate.motifs import BACKGROUND, CHUNK, gap_of, log_odds, occupancy, smooth, window_energies
from deepmr.simulate.options import SimulationOptions, make_generator
from deepmr.simulate.sequences import Z_SHARE, SimulatedLoci

OFFSET = 1.0  # counts of either mark without any binding
CONFOUNDER_COUNTS = (20.0, 30.0)  # eta and nu: what a bound confounder motif adds to exposure and outcome
Z_COUNTS = 25.0  # tau: what z adds to both


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Probability that each factor binds each sequence; 0 for a confounder that the scenario leaves out.

    Attributes
    ----------
    closeness : how strongly the first two interact, 0 to 1; None where the gap between them does not matter.
    """

    exposure: Float[np.ndarray, "loci"]
    outcome: Float[np.ndarray, "loci"]
    confounder: Float[np.ndarray, "loci"]
    closeness: Float[np.ndarray, "loci"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """How each of the three factors reads a sequence.

    Attributes
    ----------
    scores : log odds of every base at every position of its motif, in nats.
    shifts : chemical potential, added to every window.
    used : False for a factor that the scenario leaves out: it binds nothing.
    distance : gap at which the interaction of the first two has fallen to 1/e; None where it reaches everywhere.
    """

    scores: tuple[Float[np.ndarray, "_ 4"], Float[np.ndarray, "_ 4"], Float[np.ndarray, "_ 4"]]
    shifts: tuple[float, float, float]
    used: tuple[bool, bool, bool]
    distance: float | None = None


def factors_of(options: SimulationOptions, *, background: tuple[float, ...] = BACKGROUND) -> Factors:
    """Return how the factors of a simulation read a sequence.

    Parameters
    ----------
    options : motifs, their smoothing, and the scale and shift of binding.
    background : probabilities of A C G T that windows are scored against.
    """
    exposure, outcome, confounder = (
        options.motif_scale * log_odds(smooth(matrix, share=options.smoothing), background=background)
        for matrix in options.motifs.matrices
    )
    shift = options.binding_shift
    return Factors(
        scores=(exposure, outcome, confounder),
        shifts=(shift, shift, shift + options.confounder_shift),
        used=(True, True, options.sequence_confounder),
        distance=options.interaction_distance,
    )


def binding_probabilities(
    codes: UInt8[np.ndarray, "loci length"],
    *,
    options: SimulationOptions,
    background: tuple[float, ...] = BACKGROUND,
) -> Binding:
    """Return how likely each factor binds somewhere on each sequence.

    Parameters
    ----------
    codes : sequences, planted or not.
    options : motifs, their smoothing, and the scale and shift of binding.
    background : probabilities of A C G T that windows are scored against.
    """
    return bind(codes, factors_of(options, background=background))


def bind(codes: UInt8[np.ndarray, "loci length"], factors: Factors) -> Binding:
    """Return how likely each factor binds somewhere on each sequence.

    Parameters
    ----------
    codes : sequences, planted or not.
    factors : how they read a sequence.
    """
    absent = np.zeros(len(codes))
    exposure, outcome, confounder = (
        occupancy(codes, scores, shift=shift) if used else absent
        for scores, shift, used in zip(factors.scores, factors.shifts, factors.used, strict=True)
    )
    closeness = None if factors.distance is None else _closeness(codes, factors, factors.distance)
    return Binding(exposure=exposure, outcome=outcome, confounder=confounder, closeness=closeness)


def _closeness(codes: UInt8[np.ndarray, "loci length"], factors: Factors, distance: float) -> Float[np.ndarray, "loci"]:
    """Average exp(-gap / distance) over all pairs of sites, each weighted by how strongly both are bound."""
    widths = [len(scores) for scores in factors.scores[:2]]
    starts = [np.arange(codes.shape[1] - width + 1) for width in widths]
    near = np.exp(-gap_of(starts[0][:, None], starts[1], widths=(widths[0], widths[1])) / distance)
    parts = []
    for first in range(0, len(codes), CHUNK):
        some = codes[first : first + CHUNK]
        exposure, outcome = (
            expit(window_energies(some, scores, shift=shift))
            for scores, shift in zip(factors.scores[:2], factors.shifts[:2], strict=True)
        )
        total = exposure.sum(axis=1) * outcome.sum(axis=1)
        pairs = np.einsum("nt,nt->n", exposure @ near, outcome)
        parts.append(np.divide(pairs, total, out=np.zeros(len(some)), where=total > 0))
    return np.concatenate(parts) if parts else np.zeros(0)


def expected_counts(
    binding: Binding, *, options: SimulationOptions, z: UInt8[np.ndarray, "loci"] | Int[np.ndarray, "loci"] | int
) -> Float[np.ndarray, "loci 2"]:
    """Return the means of the exposure's and the outcome's counts.

    Parameters
    ----------
    binding : of each factor.
    options : alpha and gamma.
    z : the sequence-independent confounder, 0 or 1; must be 0 in a scenario without it.

    Notes
    -----
    exposure = 1 + alpha p_e + c (20 p_c + 25 z); outcome = 1 + alpha gamma p_e p_o w + c (30 p_c + 25 z), where c is
    the confounders' strength and w the closeness of both factors, 1 unless their interaction has a distance. Without
    an effect the outcome is 1 + alpha gamma p_o + c (30 p_c + 25 z).
    """
    scale = options.confounder_strength
    outcome = options.alpha * options.gamma * (1.0 if options.effect == "none" else binding.exposure) * binding.outcome
    if binding.closeness is not None:
        outcome = outcome * binding.closeness
    bound = (options.alpha * binding.exposure, outcome)
    means = [
        OFFSET + own + scale * strength * binding.confounder + scale * Z_COUNTS * z
        for own, strength in zip(bound, CONFOUNDER_COUNTS, strict=True)
    ]
    return np.stack(means, axis=1)


def expected_targets(
    codes: UInt8[np.ndarray, "loci length"],
    *,
    options: SimulationOptions,
    z: UInt8[np.ndarray, "loci"] | Int[np.ndarray, "loci"] | int | None = None,
) -> Float[np.ndarray, "loci 2"]:
    """Return the expected Anscombe-transformed counts of exposure and outcome: what a perfect network predicts.

    Parameters
    ----------
    codes : sequences; any, so that this also serves as a noise-free oracle under mutagenesis.
    options : the simulation that the sequences belong to.
    z : value of the sequence-independent confounder; by default its distribution is averaged over.

    Notes
    -----
    E[A(count) | sequence] over Poisson noise, which is less than A of the expected count, and over z, which the
    sequence does not determine.
    """
    return targets_of(binding_probabilities(codes, options=options), options=options, z=z)


def targets_of(
    binding: Binding,
    *,
    options: SimulationOptions,
    z: UInt8[np.ndarray, "loci"] | Int[np.ndarray, "loci"] | int | None = None,
) -> Float[np.ndarray, "loci 2"]:
    """Return the expected Anscombe-transformed counts of sequences that the factors bind so strongly.

    Parameters
    ----------
    binding : of each factor.
    options : the simulation.
    z : value of the sequence-independent confounder; by default its distribution is averaged over.
    """
    if z is not None or not options.random_confounder:
        return anscombe_mean(expected_counts(binding, options=options, z=0 if z is None else z))
    off, on = (anscombe_mean(expected_counts(binding, options=options, z=value)) for value in (0, 1))
    return (1 - Z_SHARE) * off + Z_SHARE * on


def draw_counts(loci: SimulatedLoci, *, options: SimulationOptions, seed: int) -> Int[np.ndarray, "loci 2"]:
    """Draw the counts of exposure and outcome at every locus: independent Poisson, given sequence and z.

    Parameters
    ----------
    loci : sequences and their z.
    options : the simulation that they belong to.
    seed : of the whole simulation.
    """
    rng = make_generator(seed=seed, split=loci.split, purpose="noise")
    return rng.poisson(expected_counts(binding_probabilities(loci.codes, options=options), options=options, z=loci.z))
