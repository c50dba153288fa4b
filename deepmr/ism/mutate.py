"""Every single-base edit, or a list of edits, of every locus for every member."""

import numpy as np
import pandas as pd
from jaxtyping import Bool

from deepmr import checks
from deepmr.errors import InputError
from deepmr.ism.choice import Engine, Precision, prepare_members
from deepmr.ism.edit_table import resolve_edits
from deepmr.ism.member import Strands
from deepmr.ism.plan import block_size_of, split
from deepmr.ism.variants import Anchor, Edits, single_edits, variants_of
from deepmr.types import MemberEffects, Predictor, Sequences


def mutate(
    predictor: Predictor,
    sequences: Sequences,
    *,
    edits: pd.DataFrame | None = None,
    within: Bool[np.ndarray, "loci length"] | None = None,
    anchor: Anchor = "center",
    engine: Engine = "auto",
    strands: Strands = "forward",
    batch_size: int | None = None,
    precision: Precision = "single",
) -> MemberEffects:
    """Predict the effects of edits with every member, in memory.

    Parameters
    ----------
    predictor : networks in evaluation mode, such as an `Ensemble`.
    sequences : loci of the length that the networks read.
    edits : one row an edit, columns variant_id, locus, other_allele, effect_allele, and offset (0-based in the locus)
        or pos (1-based on the chromosome), as `resolve_edits` reads them; rows of substitutions that share a variant_id
        are made together. By default every single-base edit of every known base.
    within : positions to which those single-base edits are restricted; not together with `edits`.
    anchor : what a deletion or insertion leaves in its place: the left flank, the right flank, or the longer of both.
    engine : auto recomputes only what an edit can change where the network allows it and plain passes where it does
        not; windowed insists on the first, naive on the second; gradient is a first look, to first order.
    strands : both averages the effects with those of the reverse complement.
    batch_size : most sequences of a plain pass at once; by default chosen from the network and the device.
    precision : double predicts in float64, about four times slower on a CPU.

    Returns
    -------
    Effects in the order of the loci, float32.

    Raises
    ------
    InputError
        When an edit does not fit the sequences, `within` leaves nothing to edit, or a member returns NaN or the wrong
        shape.

    Notes
    -----
    The effect of an edit in a member is f(edited) - f(reference): 3L + 1 passes per locus and member for L known bases,
    or as many windows (`docs/engines.md`). Which engine ran is logged. `deepmr ism` does the same work, unit by unit.

    Examples
    --------
    >>> effects = mutate(ensemble, sequences)  # doctest: +SKIP
    >>> effects.delta.shape  # members, variants, tasks  # doctest: +SKIP
    (5, 30000, 2)
    """
    length = getattr(predictor, "length", None)
    if length is not None and length != sequences.length:
        raise InputError(f"the networks read sequences of {length} bases; got {sequences.length}")
    packed, names = _packed(sequences, edits, within=within, anchor=anchor)
    blocks = split(len(sequences), block_size_of(len(sequences), len(packed), sequences.length, len(predictor.tasks)))
    members, _ = prepare_members(
        predictor,
        sequences,
        n_variants=len(packed),
        n_shifted=int(packed.shifted.sum()),
        engine=engine,
        batch_size=batch_size,
        precision=precision,
        strands=strands,
    )
    delta = [
        np.concatenate([member.effects(sequences.take(b), packed.of_loci(b)).delta for b in blocks])
        for member in members
    ]
    variants = variants_of(packed, sequences, variant_id=names)
    return MemberEffects(variants=variants, tasks=predictor.tasks, delta=np.stack(delta))


def _packed(
    sequences: Sequences,
    edits: pd.DataFrame | None,
    *,
    within: Bool[np.ndarray, "loci length"] | None,
    anchor: Anchor,
) -> tuple[Edits, list[str] | None]:
    if edits is not None:
        if within is not None:
            raise InputError("a table of edits says itself which positions to edit: leave out within")
        return resolve_edits(edits, sequences, anchor=anchor)
    if within is not None:
        checks.shape("within", within, sequences.codes.shape)
    packed = single_edits(sequences.codes, within=within)
    if within is not None and not len(packed):
        raise InputError("within leaves no known base to edit")
    return packed, None
