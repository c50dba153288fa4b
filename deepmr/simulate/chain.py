"""Three factors in a chain: sequences whose marks act on each other in a known order, and what edits do to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from deepmr import checks, schema
from deepmr.anscombe import anscombe_mean
from deepmr.errors import InputError
from deepmr.simulate.motifs import BACKGROUND, MotifSet, log_odds, occupancy, smooth
from deepmr.simulate.options import SimulationOptions, Split, make_generator
from deepmr.simulate.sequences import ABSENT, SimulatedLoci, _draw_bases, add_variants
from deepmr.types import ALPHABET, MASKED, MemberEffects, Sequences, Task

CHAIN_TASKS = ("GATA", "TAL1", "SOX2")  # the marks of the first, second and third factor in every table
Structure = Literal["chain", "fork", "independent"]
STRUCTURES: dict[Structure, str] = {
    "chain": "the first factor is needed by the second, and the second by the third: the first acts on the third only "
    "through the second",
    "fork": "the first factor is needed by the second and by the third, which do not act on each other",
    "independent": "no factor needs another",
}
EDGES: dict[Structure, frozenset[tuple[int, int]]] = {  # which mark a factor needs: of the first on the second, ...
    "chain": frozenset({(0, 1), (1, 2)}),
    "fork": frozenset({(0, 1), (0, 2)}),
    "independent": frozenset(),
}
OFFSET = 1.0  # counts of any mark without binding
SHARE = 0.5  # of loci that have a given motif, where they are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOptions:
    """Parameters of a simulation of three factors.

    Attributes
    ----------
    motifs : of the first, the second and the third factor, in the places of exposure, outcome and confounder.
    structure : which factor needs which; `STRUCTURES` says it in words.
    gains : counts of the second mark per count of the first, and of the third per count of the second; the effects are
        about their square roots. In a fork both are per count of the first.
    alpha : counts of the first mark where its factor is bound.
    length : bases of a sequence.
    binding_shift : chemical potential in nats of each factor, added to every window. Below 0, so that one substitution
        can end what a planted motif binds; the third motif is the most redundant.
    smoothing : share of the uniform distribution in the motifs.
    """

    motifs: MotifSet
    structure: Structure = "chain"
    gains: tuple[float, float] = (4.0, 0.5)
    alpha: float = 100.0
    length: int = 100
    binding_shift: tuple[float, float, float] = (-3.0, -4.0, -7.0)
    smoothing: float = 1e-5

    def __post_init__(self) -> None:
        checks.one_of("structure", self.structure, get_args(Structure))
        checks.positive("alpha and gains", np.array([self.alpha, *self.gains]))
        checks.positive("smoothing", np.array([self.smoothing]))
        checks.finite("binding_shift", np.array(self.binding_shift))
        if self.length < self.motifs.widths.sum():
            raise InputError(f"length must be at least {self.motifs.widths.sum()}, for three motifs; got {self.length}")

    @property
    def scores(self) -> tuple[Float[np.ndarray, "_ 4"], ...]:
        """Log odds of every base at every position of each motif."""
        return tuple(log_odds(smooth(matrix, share=self.smoothing)) for matrix in self.motifs.matrices)


def simulate_chain(
    n: int, *, options: ChainOptions, split: Split, planted: Literal["drawn", "all"] = "drawn", seed: int = 0
) -> SimulatedLoci:
    """Draw random sequences and plant the three motifs in them.

    Parameters
    ----------
    n : number of sequences.
    options : motifs and length.
    split : train, test or calibration; each has random numbers of its own.
    planted : each motif in half of the loci, independently of the others, or all three in every locus.
    seed : of the whole simulation.

    Notes
    -----
    Motifs of a locus stand in random order without overlap, the free bases shared out at random among the gaps. Planted
    strings are drawn base by base from the motif.
    """
    rng = make_generator(seed=seed, split=split, purpose="sequences")
    codes = _draw_bases(np.broadcast_to(BACKGROUND, (options.length, 4)), n, rng)
    has = np.ones((n, 3), dtype=bool) if planted == "all" else rng.random((n, 3)) < SHARE
    starts = _places(has, options, rng)
    for k, matrix in enumerate(options.motifs.matrices):
        rows = np.flatnonzero(has[:, k])
        columns = starts[rows, k, None] + np.arange(len(matrix))
        codes[rows[:, None], columns] = _draw_bases(smooth(matrix, share=options.smoothing), len(rows), rng)
    frame = pd.DataFrame({"locus": [f"{split}_{i:05d}" for i in range(n)], "chrom": "", "start": -1, "end": -1})
    return SimulatedLoci(
        sequences=Sequences(loci=frame, codes=codes),
        starts=starts,
        z=np.zeros(n, dtype=np.uint8),
        parent=np.full(n, ABSENT),
        split=split,
        motifs=options.motifs,
    )


def add_chain_variants(loci: SimulatedLoci, *, n_variants: int, options: ChainOptions, seed: int = 0) -> SimulatedLoci:
    """Append variants of random loci with one substitution in each of their planted motifs, for training.

    Parameters
    ----------
    loci : sequences to mutate.
    n_variants : number of variants; their loci are drawn with replacement.
    options : the simulation that the loci belong to.
    seed : of the whole simulation.
    """
    plain = SimulationOptions(motifs=options.motifs, length=options.length)
    return add_variants(loci, n_variants=n_variants, options=plain, seed=seed)


def chain_counts(bound: Float[np.ndarray, "*batch 3"], *, options: ChainOptions) -> Float[np.ndarray, "*batch 3"]:
    """Return the means of the three counts.

    Parameters
    ----------
    bound : probability that each motif is bound by its factor, were the factors it needs there.
    options : structure, alpha and gains.

    Notes
    -----
    chain: 1 + alpha p_1, 1 + alpha g_1 p_1 p_2, 1 + alpha g_1 g_2 p_1 p_2 p_3: the third count is 1 + g_2 p_3 times
    what the second has above 1, so the first mark acts on it through the second alone. fork: 1 + alpha p_1,
    1 + alpha g_1 p_1 p_2, 1 + alpha g_2 p_1 p_3. independent: 1 + alpha p_1, 1 + alpha g_1 p_2, 1 + alpha g_2 p_3.
    """
    first, second, third = np.moveaxis(bound, -1, 0)
    g1, g2 = options.gains
    if options.structure == "chain":
        marks = [first, g1 * first * second, g1 * g2 * first * second * third]
    elif options.structure == "fork":
        marks = [first, g1 * first * second, g2 * first * third]
    else:
        marks = [first, g1 * second, g2 * third]
    return OFFSET + options.alpha * np.stack(marks, axis=-1)


def chain_targets(codes: UInt8[np.ndarray, "loci length"], *, options: ChainOptions) -> Float[np.ndarray, "loci 3"]:
    """Return the expected Anscombe-transformed counts: what a perfect network predicts of any sequence.

    Parameters
    ----------
    codes : sequences.
    options : the simulation that they belong to.
    """
    return anscombe_mean(chain_counts(_bound(codes, options), options=options))


def draw_chain_counts(loci: SimulatedLoci, *, options: ChainOptions, seed: int = 0) -> Int[np.ndarray, "loci 3"]:
    """Draw the three counts of every locus: independent Poisson, given the sequence.

    Parameters
    ----------
    loci : sequences.
    options : the simulation that they belong to.
    seed : of the whole simulation.
    """
    rng = make_generator(seed=seed, split=loci.split, purpose="noise")
    return rng.poisson(chain_counts(_bound(loci.codes, options), options=options))


def chain_effects(loci: SimulatedLoci, *, members: Sequence[ChainOptions]) -> MemberEffects:
    """Return the exact effects of all single substitutions under each of several simulations: oracles as members.

    Parameters
    ----------
    loci : sequences without masked bases.
    members : simulations; one is an ensemble of one.

    Notes
    -----
    An edit of one base touches as many windows of a motif as the motif has positions: their parts of ln(1 - p) are
    exchanged, so that mutating every base of a locus costs about as much as scoring it a few times.
    """
    codes = loci.codes
    if codes.size and codes.max() >= MASKED:
        raise InputError("the effects of edits need sequences without masked bases")
    step = np.arange(1, 4, dtype=np.uint8)
    new = np.sort((codes[:, :, None] + step) % 4, axis=2)
    delta = np.stack([_edited(codes, new, options).reshape(-1, 3) for options in members])
    tasks = tuple(Task(name=name) for name in CHAIN_TASKS)
    return MemberEffects(variants=_variants(loci, new), tasks=tasks, delta=delta.astype(np.float32))


def chain_truth(loci: SimulatedLoci, *, options: ChainOptions) -> pd.DataFrame:
    """Compute the true total and direct effects of every ordered pair of marks at loci that have all three motifs.

    Parameters
    ----------
    loci : sequences and where their motifs are; those without one of the motifs are left out.
    options : the simulation that they belong to.

    Returns
    -------
    One row a locus and pair: locus, exposure, outcome, total, direct, direct_regression, and sum_dx2, the sum of dx^2.

    Notes
    -----
    total = sum(dx dy) / sum(dx^2) over all substitutions in the planted motif of the exposure's factor. direct: the
    total effect where the outcome needs the exposure itself, 0 elsewhere. direct_regression: the coefficient of dx in
    the least-squares regression of dy on the changes of both other marks, over all substitutions in the planted motifs
    of their two factors; it equals direct as far as effects are proportional, and has no stable value where they are
    but the other mark has few edits of its own. Substitutions in the outcome's own motif have no part in either.
    """
    loci = loci.take((loci.starts != ABSENT).all(axis=1))
    effects = chain_effects(loci, members=[options])
    delta = effects.delta[0].astype(float).reshape(len(loci), -1, 3)
    place = effects.variants["offset"].to_numpy().reshape(len(loci), -1)
    inside = [
        (place >= loci.starts[:, [k]]) & (place < loci.starts[:, [k]] + width)
        for k, width in enumerate(loci.motifs.widths)
    ]
    rows = []
    for cause, effect in permutations(range(3), 2):
        own = delta * inside[cause][:, :, None]
        size = (own[:, :, cause] ** 2).sum(axis=1)
        total = (own[:, :, cause] * own[:, :, effect]).sum(axis=1) / np.maximum(size, 1e-300)
        other = 3 - cause - effect
        both = delta * (inside[cause] | inside[other])[:, :, None]
        x, y = both[:, :, [cause, other]], both[:, :, effect]
        normal = np.einsum("lej,lek->ljk", x, x)
        fitted = np.einsum("ljk,lk->lj", np.linalg.pinv(normal, hermitian=True), np.einsum("lej,le->lj", x, y))[:, 0]
        names = {"exposure": CHAIN_TASKS[cause], "outcome": CHAIN_TASKS[effect]}
        direct = total * ((cause, effect) in EDGES[options.structure])
        values = {"total": total, "direct": direct, "direct_regression": fitted, "sum_dx2": size}
        rows.append(pd.DataFrame({"locus": loci.names, **names, **values}))
    return pd.concat(rows, ignore_index=True)


def _bound(codes: UInt8[np.ndarray, "loci length"], options: ChainOptions) -> Float[np.ndarray, "loci 3"]:
    """Return the probability that each motif is bound."""
    factors = zip(options.scores, options.binding_shift, strict=True)
    return np.stack([occupancy(codes, scores, shift=shift) for scores, shift in factors], axis=-1)


def _edited(
    codes: UInt8[np.ndarray, "loci length"], new: UInt8[np.ndarray, "loci length 3"], options: ChainOptions
) -> Float[np.ndarray, "loci length 3 3"]:
    """Return what every substitution changes in the expected targets of the three marks."""
    before, after = [], []
    for scores, shift in zip(options.scores, options.binding_shift, strict=True):
        width, windows = len(scores), codes.shape[1] - len(scores) + 1
        of_base = [scores[j][codes[:, j : j + windows]] for j in range(width)]
        energy = np.sum(of_base, axis=0) + shift
        unbound = -np.logaddexp(0.0, energy)
        moved = np.zeros(new.shape)
        for j in range(width):
            shifted = energy[:, :, None] + scores[j][new[:, j : j + windows]] - of_base[j][:, :, None]
            moved[:, j : j + windows] -= np.logaddexp(0.0, shifted) + unbound[:, :, None]
        total = unbound.sum(axis=1)
        before.append(-np.expm1(total))
        after.append(-np.expm1(np.minimum(total[:, None, None] + moved, 0.0)))
    reference = anscombe_mean(chain_counts(np.stack(before, axis=-1), options=options))
    return anscombe_mean(chain_counts(np.stack(after, axis=-1), options=options)) - reference[:, None, None]


def _variants(loci: SimulatedLoci, new: UInt8[np.ndarray, "loci length 3"]) -> pd.DataFrame:
    """Return all single substitutions, locus by locus and position by position."""
    letters = np.array(list(ALPHABET), dtype=object)
    n, length, _ = new.shape
    offset = np.tile(np.repeat(np.arange(length), 3), n)
    locus = np.repeat(loci.names, 3 * length)
    other, effect = letters[np.repeat(loci.codes.ravel(), 3)], letters[new.ravel()]
    text = (offset + 1).astype(str).astype(object)
    frame = pd.DataFrame({"variant_id": locus + ":" + text + ":" + other + ":" + effect, "locus": locus, "chrom": ""})
    frame = frame.assign(pos=offset + 1, effect_allele=effect, other_allele=other)
    return frame[list(schema.VARIANTS)].assign(offset=offset)


def _places(has: np.ndarray, options: ChainOptions, rng: np.random.Generator) -> Int[np.ndarray, "loci 3"]:
    """Draw where each motif starts; absent ones take no room."""
    widths = np.where(has, options.motifs.widths, 0)
    order = rng.random(has.shape).argsort(axis=1)
    free = options.length - widths.sum(axis=1)
    cuts = np.sort((rng.random(has.shape) * (free[:, None] + 1)).astype(int), axis=1)
    in_order = np.take_along_axis(widths, order, axis=1)
    begin = cuts + np.cumsum(in_order, axis=1) - in_order
    starts = np.empty_like(begin)
    np.put_along_axis(starts, order, begin, axis=1)
    return np.where(has, starts, ABSENT)
