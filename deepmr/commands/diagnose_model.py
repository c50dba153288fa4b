"""What a model at hand adds to diagnostics: double edits, edits of shuffled sequences, validation metrics."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepmr.errors import InputError
from deepmr.io.effects import EffectsFile
from deepmr.io.models import ensemble_sha256, read_ensemble
from deepmr.io.tables import read_table
from deepmr.ism.calibration import Calibration
from deepmr.ism.members import pool_members
from deepmr.ism.mutate import mutate
from deepmr.mr.diagnostics import propose_doubles
from deepmr.sequence.alphabet import dinucleotide_shuffle
from deepmr.sequence.ensemble import Ensemble
from deepmr.types import Instruments, Sequences, SummaryStats

log = logging.getLogger(__name__)

METRICS = "metrics.tsv"
N_PAIRS = 20  # double edits of a locus


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """Effects that were computed for diagnostics.

    Attributes
    ----------
    doubles : of double edits, for all pairs of traits together.
    pairs : what they are made of, by exposure.
    shuffled : of edits of shuffled sequences, by exposure.
    """

    doubles: SummaryStats
    pairs: dict[str, pd.DataFrame]
    shuffled: dict[str, SummaryStats]


def read_metrics(model: Path) -> pd.DataFrame | None:
    """Return the validation metrics of an ensemble directory; None where it has none.

    Parameters
    ----------
    model : the directory.
    """
    path = model / METRICS
    if not path.is_file():
        log.warning("%s has no %s: members are not compared by validation quality", model, METRICS)
        return None
    frame = read_table(path)
    return frame if {"task", "member", "r2", "auroc"} <= set(frame.columns) else None


def load_model(model: Path, effects: EffectsFile, *, device: str, trust_code: bool) -> Ensemble:
    """Read the ensemble and make sure that the effects are its.

    Parameters
    ----------
    model : ensemble directory.
    effects : the open effects file.
    device : torch device, or auto.
    trust_code : see `read_ensemble`.

    Raises
    ------
    InputError : when the effects come from another ensemble, or from other members made of it.
    """
    ensemble = read_ensemble(model, device=device, trust_code=trust_code)
    recorded = str(effects.attrs.get("ensemble_sha256", ""))
    if recorded and recorded != ensemble_sha256(ensemble):
        raise InputError(f"{effects.path} was not made with {model}: the checksums of the ensembles differ")
    if len(ensemble.members) != len(effects.members):
        raise InputError(
            f"{effects.path} has {len(effects.members)} members and {model} {len(ensemble.members)}: members made by "
            "dropout cannot be made again here, leave out --model"
        )
    return ensemble


def compute(
    ensemble: Ensemble,
    effects: EffectsFile,
    instruments: Sequence[Instruments],
    *,
    calibration: Calibration | None,
    options: Mapping[str, Any],
    n_loci: int,
    seed: int,
) -> Computed | None:
    """Compute double edits, and single edits of shuffled sequences, at some loci; None where there is nothing to do.

    Parameters
    ----------
    ensemble : that the effects come from.
    effects : the open effects file.
    instruments : of every pair of traits.
    calibration : what corrects the standard errors.
    options : of `pool_members`: scaling and level.
    n_loci : most loci of an exposure.
    seed : of the draws and the shuffles.
    """
    first = {given.exposure: given for given in reversed(list(instruments))}
    proposed = {
        name: propose_doubles(given, n_pairs=N_PAIRS, n_loci=n_loci, seed=seed) for name, given in first.items()
    }
    wanted = pd.concat([p.edits for p in proposed.values()], ignore_index=True).drop_duplicates()
    if wanted.empty:
        return None
    how = {"calibration": calibration, **options}
    strands = effects.attrs.get("strands", "forward")
    sequences = _of(effects.sequences, set(wanted["locus"]))
    made = mutate(ensemble, sequences, edits=wanted, strands=strands)
    shuffled = {}
    for name, given in first.items():
        within = _places(given, effects.sequences)
        used = np.flatnonzero(within.any(axis=1))
        used = np.sort(np.random.default_rng(seed).permutation(used)[:n_loci])
        if len(used):
            codes = dinucleotide_shuffle(effects.sequences.codes[used], seed=seed)
            copies = Sequences(loci=effects.sequences.loci.iloc[used].reset_index(drop=True), codes=codes)
            edits = mutate(ensemble, copies, within=within[used] & copies.known, strands=strands)
            shuffled[name] = pool_members(edits, **how)
    return Computed(
        doubles=pool_members(made, **how), pairs={k: p.pairs for k, p in proposed.items()}, shuffled=shuffled
    )


def _of(sequences: Sequences, loci: set[str]) -> Sequences:
    return sequences.take(sequences.loci["locus"].isin(loci).to_numpy(bool))


def _places(instruments: Instruments, sequences: Sequences) -> np.ndarray:
    """Return True at the positions that instruments edit."""
    found = np.zeros(sequences.codes.shape, dtype=bool)
    if "offset" in instruments.variants:
        row = pd.Index(sequences.loci["locus"]).get_indexer(pd.Index(instruments.variants["locus"].astype(str)))
        found[row, instruments.variants["offset"].to_numpy(int)] = True
    return found
