"""Motifs as matrices, and how strongly a factor binds a sequence."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from deepmr import checks
from deepmr.errors import InputError
from deepmr.types import MASKED

BACKGROUND = (0.27, 0.23, 0.23, 0.27)  # of A C G T in a sequence without motifs
ROLES = ("exposure", "outcome", "confounder")
CHUNK = 2048  # sequences whose windows are scored at a time: the working set stays in the processor's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class MotifSet:
    """The motif of each factor in a simulation.

    Attributes
    ----------
    names : of the exposure's, the outcome's and the confounder's motif.
    matrices : their base probabilities, columns A C G T, rows that sum to 1.
    """

    names: tuple[str, str, str]
    matrices: tuple[Float[np.ndarray, "_ 4"], Float[np.ndarray, "_ 4"], Float[np.ndarray, "_ 4"]]

    def __post_init__(self) -> None:
        for name, matrix in zip(self.names, self.matrices, strict=True):
            checks.shape(f"motif {name}", matrix, (len(matrix), 4))
            checks.non_negative(f"motif {name}", matrix)
            if not np.allclose(matrix.sum(axis=1), 1, atol=0.01):
                raise InputError(f"motif {name}: base probabilities must sum to 1 at every position")

    @property
    def widths(self) -> Int[np.ndarray, "roles"]:
        """Number of positions of each motif."""
        return np.array([len(matrix) for matrix in self.matrices])


def smooth(matrix: Float[np.ndarray, "width 4"], *, share: float) -> Float[np.ndarray, "width 4"]:
    """Mix a motif with the uniform distribution, so that no base is impossible.

    Parameters
    ----------
    matrix : base probabilities.
    share : weight of the uniform distribution, 0 to 1.
    """
    return matrix * (1 - share) + share / 4


def sharpen(matrix: Float[np.ndarray, "width 4"], *, power: float) -> Float[np.ndarray, "width 4"]:
    """Raise base probabilities to a power and scale them to sum to 1: above 1 what is likely becomes more so.

    Parameters
    ----------
    matrix : base probabilities.
    power : above 0; 1 changes nothing.
    """
    raised = matrix**power
    sharp: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
    return sharp


def log_odds(
    matrix: Float[np.ndarray, "width 4"], *, background: tuple[float, ...] = BACKGROUND
) -> Float[np.ndarray, "width 4"]:
    """Return ln(probability in the motif / probability in the background) of every base.

    Parameters
    ----------
    matrix : base probabilities, all above 0.
    background : probabilities of A C G T outside of motifs.
    """
    scores: np.ndarray = np.log(matrix / np.asarray(background))
    return scores


def occupancy(
    codes: UInt8[np.ndarray, "loci length"], scores: Float[np.ndarray, "width 4"], *, shift: float = 0.0
) -> Float[np.ndarray, "loci"]:
    """Return the probability that a factor binds somewhere on a sequence.

    Parameters
    ----------
    codes : sequences; a masked base scores 0, as in the background.
    scores : log odds of every base at every position of the motif, in nats.
    shift : the chemical potential mu, added to the log odds of every window.

    Notes
    -----
    The window at t binds with probability s_t = 1 / (1 + exp(-(log odds + mu))); the sequence is bound unless no
    window is: p = 1 - prod_t (1 - s_t). Only the strand given is scored.

    References
    ----------
    Zhao Y, Granas D, Stormo GD (2009). Inferring binding energies from selected binding sites. PLoS Comput Biol
    5:e1000590. doi:10.1371/journal.pcbi.1000590
    """
    parts = [_occupancy(codes[i : i + CHUNK], scores, shift) for i in range(0, len(codes), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _occupancy(
    codes: UInt8[np.ndarray, "loci length"], scores: Float[np.ndarray, "width 4"], shift: float
) -> Float[np.ndarray, "loci"]:
    # ln(1 - s) = -ln(1 + exp(energy)), summed; expm1 keeps the digits of a small p
    bound: np.ndarray = -np.expm1(-np.logaddexp(0.0, window_energies(codes, scores, shift=shift)).sum(axis=1))
    return bound


def window_energies(
    codes: UInt8[np.ndarray, "loci length"], scores: Float[np.ndarray, "width 4"], *, shift: float = 0.0
) -> Float[np.ndarray, "loci windows"]:
    """Return the log odds of every window with the chemical potential: the window is bound with the logistic of it.

    Parameters
    ----------
    codes : sequences; a masked base scores 0.
    scores : log odds of every base at every position of the motif, in nats.
    shift : the chemical potential mu.

    Notes
    -----
    Windows are scored three bases at a time: one look-up in a table of all 5^3 words a step.
    """
    width, (loci, length) = len(scores), codes.shape
    steps = -(-width // 3)
    table = np.zeros((3 * steps, MASKED + 1))  # a masked base, and the padding to a multiple of three, score 0
    table[:width, :4] = scores
    padded = np.full((loci, length + 2), MASKED, dtype=np.uint8)
    padded[:, :length] = codes
    words = (25 * padded[:, :-2] + 5 * padded[:, 1:-1] + padded[:, 2:]).astype(np.intp)
    windows = length - width + 1
    energy = np.full((loci, windows), float(shift))
    for step in range(steps):
        a, b, c = table[3 * step : 3 * step + 3]
        of_word = (a[:, None, None] + b[:, None] + c).ravel()
        energy += of_word[words[:, 3 * step : 3 * step + windows]]
    return energy


def gap_of(
    start: Int[np.ndarray, "*first"], other: Int[np.ndarray, "*second"], *, widths: tuple[int, int]
) -> Int[np.ndarray, "*both"]:
    """Return the bases between two sites, from nearest end to nearest end; 0 where they touch or overlap.

    Parameters
    ----------
    start, other : where the sites begin; arrays that broadcast against each other.
    widths : of the first and of the other sites.
    """
    gap: np.ndarray = np.maximum(np.maximum(other - (start + widths[0]), start - (other + widths[1])), 0)
    return gap
