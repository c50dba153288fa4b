"""Both strands of every locus: the same edits written on the other strand, and the mean of what a network says."""

import numpy as np

from deepmr import checks
from deepmr.ism.naive import EditEffects
from deepmr.ism.variants import Edits
from deepmr.types import ALPHABET


def reverse_complement_edits(edits: Edits, length: int) -> Edits:
    """Write the same edits on the other strand, for loci whose codes are reverse-complemented.

    Parameters
    ----------
    edits : variants of loci in the order of their sequences.
    length : bases of a locus.

    Returns
    -------
    Variant i is the variant i of `edits`, and so is each of its substitutions: offsets, which were in rising order,
    now fall.

    Notes
    -----
    `reverse_complement` (in `types`) of an edited sequence is the edited reverse complement: the base at offset o is
    found at length - 1 - o as its complement, 3 less its code.

    Examples
    --------
    >>> one = np.zeros(1, dtype=int)
    >>> edits = Edits(locus=one, start=np.array([0, 1]), offset=one + 2, base=np.array([1], dtype=np.uint8))
    >>> other = reverse_complement_edits(edits, 10)
    >>> other.offset.tolist(), other.base.tolist()
    ([7], [2])
    """
    last_code = np.uint8(len(ALPHABET) - 1)
    return Edits(locus=edits.locus, start=edits.start, offset=length - 1 - edits.offset, base=last_code - edits.base)


def average_strands(forward: EditEffects, reverse: EditEffects) -> EditEffects:
    """Average the effects of the same edits on both strands.

    Parameters
    ----------
    forward : of the codes and the edits.
    reverse : of `reverse_complement` of the codes and `reverse_complement_edits` of the edits.

    Returns
    -------
    Means of reference and of effect; the smaller batch size of the two.

    Raises
    ------
    InputError
        When the two are not of the same loci, variants and tasks.

    Notes
    -----
    These are the effects of the network g(x) = (f(x) + f(reverse complement of x)) / 2, by whatever engine those of f
    were found. On the scale of the output: for a network whose output is a logit or logarithm, the mean of logits or
    logarithms.
    """
    checks.shape("references of the reverse strand", reverse.reference, forward.reference.shape)
    checks.shape("effects of the reverse strand", reverse.delta, forward.delta.shape)
    return EditEffects(
        reference=(forward.reference + reverse.reference) / 2,
        delta=(forward.delta + reverse.delta) / 2,
        batch_size=min(forward.batch_size, reverse.batch_size),
    )
