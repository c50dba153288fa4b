"""Put a correlation matrix (linkage disequilibrium) into the order and the coding of the instruments."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from deepmr import checks
from deepmr.errors import InputError


def align_correlation(
    variants: pd.DataFrame, matrix: Float[np.ndarray, "names names"], names: Sequence[str]
) -> Float[np.ndarray, "variants variants"]:
    """Return the rows and columns of a correlation matrix that belong to the variants, in their order and coding.

    Parameters
    ----------
    variants : columns `variant_id`, `effect_allele` and `other_allele`, a row an instrument.
    matrix : correlation of the allele counts; may hold more variants than are needed.
    names : of its rows: identifiers, or identifiers with alleles as in rs1_A_G, effect allele first. With alleles, the
        row and column of a variant coded the other way change sign; without, the coding is taken to agree.

    Raises
    ------
    InputError : when a variant is missing, named twice, or has other alleles than its row.

    Examples
    --------
    >>> two = pd.DataFrame({"variant_id": ["rs2", "rs1"], "effect_allele": ["A", "C"], "other_allele": ["G", "T"]})
    >>> align_correlation(two, np.array([[1.0, 0.3], [0.3, 1.0]]), ["rs1_T_C", "rs2_A_G"]).tolist()
    [[1.0, -0.3], [-0.3, 1.0]]
    """
    checks.unique("names of the correlation matrix", names)
    checks.correlation("the correlation matrix", matrix, len(names))
    whole = {name: (i, 1.0) for i, name in enumerate(names)}
    coded: dict[str, list[tuple[int, str, str]]] = {}
    for i, name in enumerate(names):
        parts = name.rsplit("_", 2)
        if len(parts) == 3:
            coded.setdefault(parts[0], []).append((i, parts[1].upper(), parts[2].upper()))
    found = [
        _find(str(identifier), str(effect).upper(), str(other).upper(), whole, coded)
        for identifier, effect, other in zip(
            variants["variant_id"], variants["effect_allele"], variants["other_allele"], strict=True
        )
    ]
    missing = [str(v) for v, row in zip(variants["variant_id"], found, strict=True) if row is None]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"the correlation matrix lacks {len(missing)} of {len(found)} variants: {', '.join(missing[:3])}{more}; "
            f"its names are like {', '.join(names[:2])}"
        )
    known = [row for row in found if row is not None]
    rows, signs = np.array([r for r, _ in known], dtype=int), np.array([s for _, s in known])
    checks.unique("variants of the correlation matrix", [names[r] for r in rows])
    return matrix[np.ix_(rows, rows)] * signs[:, None] * signs


def _find(
    identifier: str,
    effect: str,
    other: str,
    whole: dict[str, tuple[int, float]],
    coded: dict[str, list[tuple[int, str, str]]],
) -> tuple[int, float] | None:
    if identifier in whole:
        return whole[identifier]
    rows = coded.get(identifier, [])
    for i, first, second in rows:
        if (first, second) == (effect, other):
            return i, 1.0
        if (second, first) == (effect, other):
            return i, -1.0
    if rows:
        _, first, second = rows[0]
        raise InputError(
            f"the correlation matrix has {identifier} with alleles {first}/{second}; "
            f"the instrument has {effect}/{other}"
        )
    return None
