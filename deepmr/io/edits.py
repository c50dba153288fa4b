"""Read a table of edits."""

from pathlib import Path

import pandas as pd

from deepmr.errors import InputError


def read_edits(path: Path) -> pd.DataFrame:
    """Read a tab-separated table of edits as text; `ism.edit_table.resolve_edits` checks it.

    Parameters
    ----------
    path : columns variant_id, locus, other_allele, effect_allele, and offset or pos; one row an edit.

    Raises
    ------
    InputError
        When the file is missing or no table.
    """
    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, comment="#")
    except FileNotFoundError as error:
        raise InputError(f"table of edits {path} does not exist") from error
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"table of edits {path} cannot be read: {str(error).strip()}") from error
