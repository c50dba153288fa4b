"""Networks that need no training: the simulation's own expectation, exact or misread by each member in its own way."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

from deepmr import checks
from deepmr.simulate.labels import Binding, Factors, bind, factors_of, targets_of
from deepmr.simulate.motifs import window_energies
from deepmr.simulate.options import TASKS, SimulationOptions, make_generator
from deepmr.types import ALPHABET, MASKED, MemberEffects, Sequences, Task

CHUNK = 16  # loci whose edits are worked on at a time: they stay in the processor's cache
_OTHERS = np.array([[b for b in range(4) if b != reference][:3] for reference in range(MASKED + 1)], dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleMember:
    """One network that knows the simulation: how it reads the motifs, and how strongly it thinks they act.

    Attributes
    ----------
    factors : log odds and shifts of the three factors.
    options : strengths and scenario.
    """

    factors: Factors
    options: SimulationOptions

    def predict(self, codes: UInt8[np.ndarray, "loci length"]) -> Float[np.ndarray, "loci 2"]:
        """Return the expected Anscombe-transformed counts, z averaged."""
        return targets_of(bind(codes, self.factors), options=self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class OraclePredictor:
    """An ensemble of such networks, a `types.Predictor`; `oracle_predictor` makes it.

    Attributes
    ----------
    members : one a member.
    """

    members: tuple[OracleMember, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Both marks, on the square-root scale."""
        return tuple(Task(name=name) for name in TASKS)

    @property
    def modules(self) -> tuple[Any, ...]:
        """One function codes -> (loci, tasks) a member; `oracle_effects` mutates them, no engine does."""
        return tuple(member.predict for member in self.members)

    @property
    def device(self) -> str:
        """Where they compute."""
        return "cpu"

    def predict(self, codes: UInt8[np.ndarray, "loci length"]) -> Float[np.ndarray, "members loci tasks"]:
        """Predict both marks of every locus with every member."""
        return np.stack([member.predict(codes) for member in self.members])


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleEdits:
    """What one member says of every single substitution: of base i at position j of a locus, the third, k of it.

    Attributes
    ----------
    reference : of the unedited sequences.
    delta : edited minus unedited; the new bases of a position in the order A C G T without the one that is there.
    """

    reference: Float[np.ndarray, "loci 2"]
    delta: Float[np.ndarray, "loci length 3 2"]


def oracle_predictor(
    options: SimulationOptions,
    *,
    n_members: int = 1,
    member_error: float = 0.0,
    shared_error: float = 0.0,
    seed: int = 0,
) -> OraclePredictor:
    """Make networks that know the simulation, each with errors of its own and with errors that all share.

    Parameters
    ----------
    options : the simulation.
    n_members : networks; at least 1.
    member_error : standard deviation of each member's own errors in the log odds of every base of every motif (nats)
        and in the logarithm of the strengths alpha and gamma; 0 for none.
    shared_error : the same for errors that are drawn once and that all members make.
    seed : of the errors.

    Notes
    -----
    The errors are in the parameters, so that a member is a smooth function of the sequence as a network is: wrong by a
    similar amount at similar edits. What members share no spread over members shows.

    Raises
    ------
    InputError : when a count or an error is out of range.
    """
    checks.at_least("n_members", n_members, 1)
    checks.non_negative("member_error", np.array([member_error]))
    checks.non_negative("shared_error", np.array([shared_error]))
    exact = OracleMember(factors=factors_of(options), options=options)
    rng = make_generator(seed=seed, purpose="oracle")
    shared = _misread(exact, shared_error, rng)
    return OraclePredictor(members=tuple(_misread(shared, member_error, rng) for _ in range(n_members)))


def _misread(member: OracleMember, error: float, rng: np.random.Generator) -> OracleMember:
    """Return a member with errors in its log odds and strengths; the random numbers do not depend on their size."""
    first, second, third = (scores + error * rng.normal(size=scores.shape) for scores in member.factors.scores)
    of_alpha, of_gamma = np.exp(error * rng.normal(size=2)).tolist()
    options = member.options
    return OracleMember(
        factors=replace(member.factors, scores=(first, second, third)),
        options=replace(options, alpha=options.alpha * of_alpha, gamma=options.gamma * of_gamma),
    )


def oracle_effects(
    sequences: Sequences, *, options: SimulationOptions, predictor: OraclePredictor | None = None
) -> MemberEffects:
    """Return the effects of every single substitution of every locus, as `mutate` would of a perfect network.

    Parameters
    ----------
    sequences : the loci; masked positions are not edited.
    options : the simulation that they belong to.
    predictor : networks with errors, made by `oracle_predictor`; by default one network without any.

    Returns
    -------
    Edits in the order of the loci, of offsets, and of new bases.

    Notes
    -----
    A substitution changes only the windows that cover it: some 250 loci of 100 bases take half a second.
    """
    members = (predictor or oracle_predictor(options)).members
    known = sequences.known
    delta = np.stack([oracle_edits(sequences.codes, member=member).delta[known].reshape(-1, 2) for member in members])
    tasks = tuple(Task(name=name) for name in TASKS)
    return MemberEffects(variants=_variants(sequences), tasks=tasks, delta=delta.astype(np.float32))


def oracle_edits(codes: UInt8[np.ndarray, "loci length"], *, member: OracleMember) -> OracleEdits:
    """Return what one member says of every single substitution, in float64.

    Parameters
    ----------
    codes : reference bases; effects at masked positions are of writing A, C or G there.
    member : the network.
    """
    parts = [_edits(codes[i : i + CHUNK], member) for i in range(0, len(codes), CHUNK)]
    empty = OracleEdits(reference=np.zeros((0, 2)), delta=np.zeros((0, codes.shape[1], 3, 2)))
    return OracleEdits(
        reference=np.concatenate([empty.reference, *(part.reference for part in parts)]),
        delta=np.concatenate([empty.delta, *(part.delta for part in parts)]),
    )


def _edits(codes: UInt8[np.ndarray, "loci length"], member: OracleMember) -> OracleEdits:
    """Bind every edited sequence of a few loci, then ask for the targets of all at once."""
    loci, length = codes.shape
    if member.factors.distance is not None:
        return _edits_one_by_one(codes, member)
    absent = np.zeros((loci, 1 + 3 * length))
    factors = member.factors
    exposure, outcome, confounder = (
        _occupancies(codes, scores, shift) if used else absent
        for scores, shift, used in zip(factors.scores, factors.shifts, factors.used, strict=True)
    )
    binding = Binding(exposure=exposure.ravel(), outcome=outcome.ravel(), confounder=confounder.ravel())
    targets = targets_of(binding, options=member.options).reshape(loci, 1 + 3 * length, 2)
    reference = targets[:, 0]
    return OracleEdits(reference=reference, delta=(targets[:, 1:] - reference[:, None]).reshape(loci, length, 3, 2))


def _edits_one_by_one(codes: UInt8[np.ndarray, "loci length"], member: OracleMember) -> OracleEdits:
    """Predict every edited sequence: where two factors interact by their distance, every window matters."""
    loci, length = codes.shape
    edit, place = np.arange(3 * length), np.repeat(np.arange(length), 3)
    edited = np.repeat(codes[:, None], 3 * length, axis=1)
    edited[:, edit, place] = _OTHERS[codes].reshape(loci, -1)
    reference = member.predict(codes)
    delta = member.predict(edited.reshape(-1, length)).reshape(loci, -1, 2) - reference[:, None]
    return OracleEdits(reference=reference, delta=delta.reshape(loci, length, 3, 2))


def _occupancies(
    codes: UInt8[np.ndarray, "loci length"], scores: Float[np.ndarray, "width 4"], shift: float
) -> Float[np.ndarray, "loci sequences"]:
    """Return how likely a factor binds each locus, and each of its single substitutions, the reference first.

    -ln(1 - p) is a sum over windows. Of an edited sequence it is the sum over the windows to the left of the edit,
    those to the right, and those that cover it with their new energies: of positive terms, so that no digit cancels.
    """
    loci, length = codes.shape
    width = len(scores)
    energy = window_energies(codes, scores, shift=shift)
    windows = energy.shape[1]
    free = np.logaddexp(0.0, energy)
    zero = np.zeros((loci, 1))
    before = np.concatenate([zero, free.cumsum(axis=1)], axis=1)  # windows 0 to t - 1
    after = np.concatenate([free[:, ::-1].cumsum(axis=1)[:, ::-1], zero], axis=1)  # windows t on
    offset = np.arange(length)
    outside = before[:, np.clip(offset - width + 1, 0, windows)] + after[:, np.minimum(offset + 1, windows)]
    edited = np.repeat(outside[:, :, None], 3, axis=2)
    table = np.zeros((width, MASKED + 1))
    table[:, :4] = scores
    for j in range(width):
        here = codes[:, j : j + windows]
        change = table[j][_OTHERS[here]] - table[j][here][:, :, None]
        edited[:, j : j + windows] += np.logaddexp(0.0, energy[:, :, None] + change)
    total = np.concatenate([before[:, -1:], edited.reshape(loci, -1)], axis=1)
    bound: np.ndarray = -np.expm1(-total)
    return bound


def _variants(sequences: Sequences) -> pd.DataFrame:
    """Name every substitution as `ism` does: by locus, offset, then new base."""
    locus, offset = np.nonzero(sequences.known)
    other = np.repeat(sequences.codes[locus, offset], 3)
    base = _OTHERS[sequences.codes[locus, offset]].ravel()
    locus, offset = np.repeat(locus, 3), np.repeat(offset, 3)
    frame = sequences.loci
    start = frame["start"].to_numpy(int)
    placed = (start >= 0) & (frame["chrom"] != "").to_numpy(bool)
    place = np.where(placed, frame["chrom"], frame["locus"]).astype(str)
    pos = np.where(placed, start, 0)[locus] + offset + 1
    parts = zip(locus.tolist(), pos.tolist(), other.tolist(), base.tolist(), strict=True)
    alleles = pd.Index(list(ALPHABET))
    return pd.DataFrame(
        {
            "variant_id": [f"{place[i]}:{p}:{ALPHABET[old]}:{ALPHABET[new]}" for i, p, old, new in parts],
            "locus": pd.Categorical.from_codes(locus, pd.Index(frame["locus"].astype(str))),
            "chrom": pd.Categorical(np.where(placed, frame["chrom"], "")).take(locus),
            "pos": pos,
            "effect_allele": pd.Categorical.from_codes(base, alleles),
            "other_allele": pd.Categorical.from_codes(other, alleles),
            "offset": offset,
        }
    )
