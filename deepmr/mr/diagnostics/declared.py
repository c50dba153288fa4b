"""Tables of diagnostics: exactly the columns that `schema.DIAGNOSTICS` declares."""

from typing import Any

import pandas as pd

from deepmr import checks, schema


def declared(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that are declared for a table, in their order.

    Parameters
    ----------
    name : of the diagnostic, a key of `schema.DIAGNOSTICS`.
    frame : its rows; a column that is missing is an error, a further one is left out.
    """
    checks.one_of("diagnostic", name, schema.DIAGNOSTICS)
    columns = list(schema.DIAGNOSTICS[name])
    checks.columns(name, frame.columns, columns)
    return frame[columns].reset_index(drop=True)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dictionaries.

    Parameters
    ----------
    frame : with names of columns that are texts.
    """
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
