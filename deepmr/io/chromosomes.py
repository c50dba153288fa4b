"""Names of chromosomes that compare equal, whoever wrote them."""

import numpy as np
import pandas as pd

NAMES = {"23": "X", "24": "Y", "25": "X", "XY": "X", "26": "MT", "M": "MT"}


def plain_chromosomes(raw: pd.Categorical) -> pd.Categorical:
    """Return chromosomes as 1 to 22, X, Y, MT, without "chr" and leading zeros; empty where missing.

    Parameters
    ----------
    raw : as a file spells them, text.
    """
    return recode(raw, [_plain(str(name)) for name in raw.categories])


def recode(raw: pd.Categorical, names: list[str]) -> pd.Categorical:
    """Rename categories, which may become equal; a missing value becomes the empty name.

    Parameters
    ----------
    raw : values to rename.
    names : a new name a category.
    """
    levels = list(dict.fromkeys(["", *names]))
    number = {name: k for k, name in enumerate(levels)}
    table = np.array([*(number[name] for name in names), 0], dtype=np.int32)  # code -1, missing, is the last one
    return pd.Categorical.from_codes(table[raw.codes], pd.Index(levels, dtype=object))


def _plain(name: str) -> str:
    name = name.strip().removesuffix(".0").upper().removeprefix("CHR")
    name = name.lstrip("0") or name
    return NAMES.get(name, name)
