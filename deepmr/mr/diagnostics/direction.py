"""Which way an effect goes: Steiger's question asked of edits, and the instruments that only one direction has."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from deepmr.errors import InputError
from deepmr.linalg import divide, segment_sum
from deepmr.mr.diagnostics.declared import declared
from deepmr.mr.diagnostics.slopes import locus_slopes, mean_over_loci, member_pvalue, shared_errors
from deepmr.mr.diagnostics.totals import Totals
from deepmr.mr.lines import exposure_of
from deepmr.types import Instruments

MARGIN = 0.1  # difference of shares below which edits are as much the outcome's as the exposure's
SIGNIFICANT = 0.05


def effect_direction(instruments: Instruments, totals: Totals) -> pd.DataFrame:
    """Compare the shares of both traits' squared effects that the instruments have.

    Parameters
    ----------
    instruments : of one exposure.
    totals : over all edits of the same loci, for both traits.

    Returns
    -------
    Table "direction" of `schema.DIAGNOSTICS`: a row a locus with instruments, then the mean over loci (`*`).

    Raises
    ------
    InputError : when a locus is not in `totals`.

    Notes
    -----
    Steiger's test compares shares of variance in a sample; edits do not vary in one. Their counterpart is the sum of
    squared effects over all edits of a locus: R_x = sum over the instruments of dx^2 / sum over all edits of dx^2, and
    R_y in the same way. Instruments of a cause have nearly all of R_x, and of the outcome only what comes through the
    exposure, so R_x > R_y wherever the outcome has sites of its own. Instruments of an effect of the outcome on the
    exposure, taken the wrong way round, contain the cause's sites: both shares are near 1. Where all edits move both
    traits alike there is no telling. Shares need no sample size and no unit. They are chosen for large dx, so R_x is a
    little too large: `forward` needs a difference of more than 0.1.

    Errors are those of the members, by the delta method, and for the mean the scatter over loci.
    """
    place = pd.Index(totals.loci).get_indexer(pd.Index(instruments.loci))
    if np.any(place < 0):
        raise InputError(f"locus {instruments.loci[int(np.argmax(place < 0))]!r} is not among the totals")
    x, _ = exposure_of(instruments)
    effects = np.stack([x, instruments.beta_outcome.astype(float)])
    shared = np.moveaxis(shared_errors(instruments), 2, 0)
    columns = [totals.column(instruments.exposure), totals.column(instruments.outcome)]
    shares, moves = [], []
    for effect, error, k in zip(effects, shared, columns, strict=True):
        whole = totals.squares[place, k]
        share = divide(segment_sum(effect**2, instruments.offsets), whole, otherwise=0.0)
        own = segment_sum(effect * error, instruments.offsets)
        rest = totals.moves[:, place, k] if len(error) else np.zeros((0, len(place)))
        shares.append(share)
        moves.append(2 * divide(own - share * rest, np.broadcast_to(whole, own.shape), otherwise=0.0))
    difference, factors = shares[0] - shares[1], moves[0] - moves[1]
    known = instruments.counts > 0
    se = np.sqrt(np.sum(factors**2, axis=0))
    pvalue = member_pvalue(difference, factors) if len(factors) else np.zeros(len(se))
    mean = mean_over_loci(difference, factors, known)
    whole_row = {
        "locus": "*",
        "n": int(instruments.counts.sum()),
        "share_exposure": float(shares[0][known].mean()) if known.any() else 0.0,
        "share_outcome": float(shares[1][known].mean()) if known.any() else 0.0,
        "difference": float(np.nan_to_num(mean.value)),
        "difference_se": float(np.nan_to_num(mean.se)),
        "pvalue": mean.pvalue,
    }
    frame = pd.DataFrame(
        {
            "locus": np.asarray(instruments.loci, dtype=object),
            "n": instruments.counts,
            "share_exposure": shares[0],
            "share_outcome": shares[1],
            "difference": difference,
            "difference_se": se,
            "pvalue": pvalue,
        }
    )[known]
    frame = pd.concat([frame, pd.DataFrame([whole_row])], ignore_index=True)
    clear = (frame["pvalue"] < SIGNIFICANT).to_numpy(bool)
    gap = frame["difference"].to_numpy(float)
    which = np.where(clear & (gap > MARGIN), "forward", np.where(clear & (gap < -MARGIN), "reversed", "undecided"))
    return declared(
        "direction", frame.assign(exposure=instruments.exposure, outcome=instruments.outcome, direction=which)
    )


def shared_instruments(forward: Instruments, backward: Instruments) -> Bool[np.ndarray, "rows"]:
    """Say which instruments of one direction are instruments of the other too.

    Parameters
    ----------
    forward, backward : of the two directions of a pair.

    Raises
    ------
    InputError : when they are not the two directions of one pair.
    """
    if (forward.exposure, forward.outcome) != (backward.outcome, backward.exposure):
        raise InputError(
            f"needed both directions of a pair; got {forward.exposure} -> {forward.outcome} and "
            f"{backward.exposure} -> {backward.outcome}"
        )
    keys = [pd.MultiIndex.from_arrays([i.variants[c].astype(str) for c in ("locus", "variant_id")]) for i in
            (forward, backward)]  # fmt: skip
    return np.asarray(keys[0].isin(keys[1]), dtype=bool)


def asymmetry(forward: Instruments, backward: Instruments) -> pd.DataFrame:
    """Split the instruments of one direction into those that the other has too, and those that it has not.

    Parameters
    ----------
    forward : instruments of the direction that is asked about.
    backward : those of the other direction, chosen by the same rule.

    Returns
    -------
    Table "asymmetry" of `schema.DIAGNOSTICS`: a row a locus with instruments, then the mean over loci (`*`).

    Notes
    -----
    If X acts on Y, every instrument of X moves Y in proportion, the weak ones and the strong ones: instruments that
    are too weak on Y to be instruments of it lie on the same line. If Y acts on X, or sites of both lie at the locus,
    instruments of X fall in two kinds: those shared with Y have a slope, and X's own have none. So `beta_exclusive` is
    compared with `beta_shared`, over the loci that have both kinds. That an exclusive instrument has a small effect on
    Y is how it was told, so `beta_exclusive` alone proves nothing; but on one line a small effect on Y goes with a
    small effect on X, and the slope stays.
    """
    both = shared_instruments(forward, backward)
    other = shared_instruments(backward, forward)
    parts = {"": forward, "_shared": forward.take(both), "_exclusive": forward.take(~both)}
    slopes = {name: locus_slopes(part) for name, part in parts.items()}
    x, _ = exposure_of(forward)
    total = segment_sum(x**2, forward.offsets)
    share = divide(segment_sum(np.where(both, 0.0, x**2), forward.offsets), total, otherwise=0.0)
    place = pd.Index(backward.loci).get_indexer(pd.Index(forward.loci))
    beyond = backward.take(~other).counts
    outcome_only = np.where(place >= 0, beyond[place], 0) if len(beyond) else np.zeros(len(place), dtype=int)
    compared = slopes["_shared"].known & slopes["_exclusive"].known
    difference = slopes["_exclusive"].beta - slopes["_shared"].beta
    moves = slopes["_exclusive"].factors - slopes["_shared"].factors
    back = locus_slopes(backward)
    back_beta = np.where(place >= 0, back.beta[place], 0.0) if len(back.beta) else np.zeros(len(place))
    se = np.sqrt(np.sum(moves**2, axis=0))
    columns: dict[str, Float[np.ndarray, "loci"]] = {
        "share_exclusive": share,
        "beta": slopes[""].beta,
        "beta_shared": slopes["_shared"].beta,
        "beta_exclusive": slopes["_exclusive"].beta,
        "difference": np.where(compared, difference, 0.0),
        "difference_se": np.where(compared, se, 0.0),
        "product": slopes[""].beta * back_beta,
    }
    pvalue = member_pvalue(difference, moves)
    known = forward.counts > 0
    frame = pd.DataFrame(
        {
            "locus": np.asarray(forward.loci, dtype=object),
            "n_shared": parts["_shared"].counts,
            "n_exclusive": parts["_exclusive"].counts,
            "n_outcome_exclusive": outcome_only,
            **columns,
            "difference_pvalue": np.where(compared, pvalue, 1.0),
            "n_both": compared.astype(int),
        }
    )[known]
    mean = mean_over_loci(difference, moves, compared)
    kinds = {"beta": known, "beta_shared": slopes["_shared"].known, "beta_exclusive": slopes["_exclusive"].known}
    kinds |= {"share_exclusive": known, "product": known & (back_beta != 0)}
    row: dict[str, object] = {name: float(columns[name][k].mean()) if k.any() else 0.0 for name, k in kinds.items()}
    row |= {name: int(frame[name].sum()) for name in ("n_shared", "n_exclusive", "n_outcome_exclusive", "n_both")}
    row |= {
        "locus": "*",
        "difference": float(np.nan_to_num(mean.value)),
        "difference_se": float(np.nan_to_num(mean.se)),
        "difference_pvalue": mean.pvalue,
    }
    frame = pd.concat([frame, pd.DataFrame([row])], ignore_index=True)
    return declared("asymmetry", frame.assign(exposure=forward.exposure, outcome=forward.outcome))
