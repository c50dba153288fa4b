"""Effects of single substitutions with known seqlets, for tests."""

import numpy as np
import pandas as pd

from deepmr.types import ALPHABET, MemberEffects, Task


def saturated(delta, codes, *, tasks=("X", "Y"), chrom=""):
    """Member effects of all substitutions: `delta` is (members, loci, length, 4, tasks), `codes` (loci, length)."""
    loci = len(codes)
    locus, offset, base = np.nonzero(np.arange(4) != codes[..., None])
    letters = np.array(list(ALPHABET))
    name = np.array([f"locus{i}" for i in range(loci)])[locus]
    frame = pd.DataFrame(
        {
            "variant_id": [f"{n}:{p}:{b}" for n, p, b in zip(name, offset, base, strict=True)],
            "locus": name,
            "chrom": chrom,
            "pos": offset + 1,
            "effect_allele": letters[base],
            "other_allele": letters[codes[locus, offset]],
            "offset": offset,
        }
    )
    chosen = np.asarray(delta)[:, locus, offset, base]
    return MemberEffects(variants=frame, tasks=tuple(Task(name=t) for t in tasks), delta=chosen)


def two_seqlets(*, loci=6, length=40, slopes=(2.0, 2.0), noise=0.02, members=5, seed=0, second=None):
    """Loci with a seqlet at 5-11 and, where `second` says (default everywhere), one at 22-28, each with its slope.

    Every substitution inside a seqlet lowers X by its pattern, and Y by its slope times that.
    """
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (loci, length)).astype(np.uint8)
    second = np.ones(loci, dtype=bool) if second is None else np.asarray(second)
    exact = np.zeros((loci, length, 4, 2))
    for number, (start, word) in enumerate(((5, "GATAAG"), (22, "TGACTC"))):
        here = np.ones(loci, dtype=bool) if number == 0 else second
        letters = np.array([ALPHABET.index(c) for c in word], dtype=np.uint8)
        codes[here, start : start + 6] = letters
        depth = -(3.0 - number) * np.ones((here.sum(), 6, 4)) * (np.arange(4) != letters[:, None])
        exact[here, start : start + 6, :, 0] = depth
        exact[here, start : start + 6, :, 1] = slopes[number] * depth
    delta = exact + noise * rng.normal(size=(members, *exact.shape)) * np.where(exact == 0, 0.1, 1.0)
    return saturated(delta, codes)
