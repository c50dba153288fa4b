"""Fits inside of fits: their states as one, so that what is made of several is written and read as any other."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from deepmr.contexts import ContextualFit, record_from
from deepmr.contextual import fit_from_state


def pack(fits: Mapping[str, ContextualFit]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and plain values of several fits.

    Parameters
    ----------
    fits : by a name of each, without "/".
    """
    arrays: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    for name, fit in fits.items():
        state = fit.state()
        arrays |= {f"{name}/{key}": value for key, value in state.arrays.items()}
        plain[name] = {"kind": state.kind, "settings": dict(state.settings), "record": asdict(state.record)}
    return arrays, plain


def unpack(arrays: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, ContextualFit]:
    """Make the fits again from what `pack` returned.

    Parameters
    ----------
    arrays, plain : as they were.
    """
    made = {}
    for name, one in plain.items():
        own = {key.removeprefix(f"{name}/"): v for key, v in arrays.items() if key.startswith(f"{name}/")}
        made[name] = fit_from_state(one["kind"], own, one["settings"], record_from(one["record"]))
    return made
