"""What a simulation is made of, and its streams of random numbers."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from deepmr import checks
from deepmr.errors import InputError
from deepmr.simulate.motifs import MotifSet

Scenario = Literal["unconfounded", "random", "sequence", "both"]
Effect = Literal["causal", "none"]
Split = Literal["train", "test", "calibration"]
Purpose = Literal["gamma", "alpha", "sequences", "variants", "noise", "edits", "oracle"]
ROLES = ("exposure", "outcome")  # what the first two factors are in the simulation
TASKS = ("GATA", "TAL1")  # and what their marks are called in every table

# Fields of `SimulationOptions` that go together; `docs/simulation.md` says what each of these simulations looks like.
PRESETS: dict[str, dict[str, Any]] = {
    "graded": {"smoothing": 0.1, "binding_shift": -6.0},
    "varying_confounder": {"confounder_shift": -7.0, "confounder_sharpness": 3.0},
    "null": {"effect": "none"},
    "spacing": {"interaction_distance": 30.0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationOptions:
    """Parameters of the motif simulation.

    Attributes
    ----------
    motifs : motif of the exposure's, the outcome's and the confounder's factor.
    scenario : which confounders act: none ("unconfounded"), the sequence-independent one ("random"), the confounder's
        motif ("sequence"), or both.
    gamma : outcome counts per exposure count at a bound outcome motif; the causal effect is about its square root.
    alpha : exposure counts of a bound exposure motif.
    length : bases of a sequence.
    motif_scale : factor on the log odds of every window; below 1 binding is graded.
    binding_shift : chemical potential in nats, added to every window; below 0 binding is weaker.
    smoothing : share of the uniform distribution in the motifs.
    effect : "causal": the outcome needs both factors. "none": it needs its own alone, so that it responds to the
        sequence but the exposure has no effect on it.
    confounder_strength : factor on all that the confounders add to the counts; 0 leaves them without effect.
    confounder_shift : chemical potential of the confounder's factor alone, in nats, on top of `binding_shift`.
    confounder_sharpness : power of the base probabilities from which the confounder's motif is planted; above 1 planted
        sites are near the best one.
    interaction_distance : gap between both factors, in bases, at which the exposure's effect has fallen to 1/e; None
        for an effect at any gap.
    """

    motifs: MotifSet
    scenario: Scenario = "unconfounded"
    gamma: float = 10.0
    alpha: float = 100.0
    length: int = 100
    motif_scale: float = 1.0
    binding_shift: float = 0.0
    smoothing: float = 1e-5
    effect: Effect = "causal"
    confounder_strength: float = 1.0
    confounder_shift: float = 0.0
    confounder_sharpness: float = 1.0
    interaction_distance: float | None = None

    def __post_init__(self) -> None:
        checks.one_of("scenario", self.scenario, get_args(Scenario))
        checks.one_of("effect", self.effect, get_args(Effect))
        for name in ("gamma", "alpha", "confounder_strength"):
            checks.non_negative(name, np.array([getattr(self, name)]))
        for name in ("motif_scale", "smoothing", "confounder_sharpness"):
            checks.positive(name, np.array([getattr(self, name)]))
        if self.smoothing > 1:
            raise InputError(f"smoothing must be at most 1; got {self.smoothing:g}")
        for name in ("binding_shift", "confounder_shift"):
            checks.finite(name, np.array([getattr(self, name)]))
        if self.interaction_distance is not None:
            checks.positive("interaction_distance", np.array([self.interaction_distance]))
            if self.effect == "none":
                raise InputError("interaction_distance is how far an effect reaches; with effect 'none' there is none")
        if self.gaps[1] < self.gaps[0]:
            needed = self.length + self.gaps[0] - self.gaps[1]
            raise InputError(f"length must be at least {needed}, so that the motifs fit; got {self.length}")

    @property
    def sequence_confounder(self) -> bool:
        """True when sequences carry the confounder's motif."""
        return self.scenario in {"sequence", "both"}

    @property
    def random_confounder(self) -> bool:
        """True when a confounder acts that the sequence knows nothing of."""
        return self.scenario in {"random", "both"}

    @property
    def gaps(self) -> tuple[int, int]:
        """Smallest and largest gap between the two motifs of a pair: the longest motif, and what all motifs leave."""
        widths = self.motifs.widths if self.sequence_confounder else self.motifs.widths[:2]
        return int(widths.max()), self.length - int(widths.sum())


def make_generator(*, seed: int, split: Split | None = None, purpose: Purpose) -> np.random.Generator:
    """Return the random numbers of one purpose in one split.

    Parameters
    ----------
    seed : of the whole simulation.
    split : train, test or calibration; none for what they share.
    purpose : what the numbers are for.

    Notes
    -----
    Streams are spawned from `seed` by key, so they are independent whatever the number of sequences, and a change in
    one split leaves the others as they were.
    """
    splits, purposes = get_args(Split), get_args(Purpose)
    key = (splits.index(split) + 1 if split else 0, purposes.index(purpose))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def draw_gamma(*, seed: int) -> float:
    """Draw gamma as the paper does for a round: N(10, sd 0.5) or N(1, sd 0.5) with equal chance, cut at 0."""
    rng = make_generator(seed=seed, purpose="gamma")
    return max(float(rng.normal(rng.choice([10.0, 1.0]), 0.5)), 0.0)


def draw_alpha(*, seed: int) -> float:
    """Draw alpha as the paper does for a round: N(100, sd 3)."""
    return float(make_generator(seed=seed, purpose="alpha").normal(100.0, 3.0))
