"""`deepmr features`: contexts of loci from their reference sequences, a row a locus."""

import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepmr import checks
from deepmr.commands.progress import meter
from deepmr.errors import InputError
from deepmr.io.fasta import read_fasta, read_loci
from deepmr.io.files import atomic_path, check_writable
from deepmr.io.motifs import read_motifs
from deepmr.io.provenance import provenance
from deepmr.io.tables import write_table
from deepmr.sequence.features import Pair, sequence_features
from deepmr.sequence.motif_hits import reachable
from deepmr.types import Sequences

log = logging.getLogger(__name__)
FEW_MOTIFS = 4  # up to which all pairs of them are described
LOCI_AT_ONCE = 4096  # predicted between two steps of the progress bar


def features(
    *,
    fasta: Path,
    out: Path,
    motifs: Path | None = None,
    motif: list[str] | None = None,
    pairs: list[str] | None = None,
    threshold: float = 1e-4,
    loci: Path | None = None,
    length: int | None = None,
    model: Path | None = None,
    predict: list[str] | None = None,
    device: str = "auto",
    trust_code: bool = False,
    overwrite: bool = False,
) -> dict[str, object]:
    """Describe loci by their reference sequences: motifs, how they lie, composition, predictions.

    What deepmr context takes as contexts. Nothing here looks at an edit: a context that came from the edits that
    effects come from would share their errors, and effects would seem to vary with it.

    Parameters
    ----------
    fasta
        Sequences, one record a locus; with --loci, a genome.
    out
        Table to write (TSV).
    motifs
        Motifs (MEME minimal text); none for composition alone.
    motif
        Names of the motifs to use; default all of the file.
    pairs
        A:B, two motifs whose spacing and orientation to add; all or none. By default all where there are at most 4
        motifs.
    threshold
        P value below which a window matches a motif, each strand by itself.
    loci
        BED or narrowPeak file: windows of the genome, centred on the summit.
    length
        Bases of a locus; needed with --loci, where there is no model.
    model
        Ensemble directory: also predict every reference sequence. Another ensemble than that of the effects, or one
        trained on other chromosomes, keeps errors of contexts and effects apart.
    predict
        Tasks to predict; default all.
    device
        auto, cpu, cuda or cuda:1.
    trust_code
        Run Python code that the ensemble brings along.
    overwrite
        Replace a table that is there.

    Returns
    -------
    dict
        Loci, columns, and in how many loci each motif was found.

    Raises
    ------
    InputError
        For a file, motif, pair or task that cannot be used, or motifs without memelite.
    """
    options = {name: value for name, value in locals().items() if name != "overwrite"}
    checks.at_least("length", length, 1)
    check_writable(out, overwrite=overwrite)
    chosen = {} if motifs is None else _choose(motifs, motif)
    wanted = _pairs(pairs, list(chosen))
    if model is None and predict:
        raise InputError("--predict names tasks of an ensemble: it needs --model")
    ensemble = None
    if model is not None:
        from deepmr.io.models import read_ensemble  # torch: only where there are networks

        ensemble = read_ensemble(model, device=device, trust_code=trust_code)
        if length is not None and ensemble.length not in (None, length):
            raise InputError(f"{model} reads sequences of {ensemble.length} bases; --length is {length}")
        length = ensemble.length or length
    sequences = _sequences(fasta, loci, length)
    mute = [name for name in chosen if name not in reachable(chosen, threshold=threshold)]
    if mute:
        log.warning(
            "%s is too short to match anywhere at P < %g; give a larger --threshold", ", ".join(mute), threshold
        )
    table = sequence_features(sequences, chosen or None, pairs=wanted, threshold=threshold)
    if ensemble is not None:
        table = pd.concat([table, _predictions(ensemble, sequences, predict)], axis=1)
    inputs = {"fasta": fasta, "motifs": motifs, "loci": loci, "model": model}
    record = provenance(
        "features", options=options, inputs={name: path for name, path in inputs.items() if path is not None}
    )
    if ensemble is not None:
        record["ensemble_sha256"] = ensemble.sha256
    with atomic_path(out.with_name(out.name + ".json")) as sidecar:
        write_table(table, out)
        sidecar.write_text(json.dumps(record, indent=2) + "\n")
    columns = [name for name in table.columns if name not in sequences.loci.columns]
    found = [{"motif": name, "loci_with_it": int(table[f"{name}_present"].sum())} for name in chosen]
    constant = [name for name in columns if (table[name] == table[name].iloc[0]).all()]
    return {
        "loci": len(table),
        "columns": len(columns),
        "motifs": found,
        **({"alike_in_all_loci": constant} if constant else {}),
        "features": str(out),
    }


def _choose(path: Path, names: list[str] | None) -> dict[str, Any]:
    every = read_motifs(path)
    for name in names or ():
        if name not in every:
            raise InputError(f"{path} has no motif {name!r}; it has {len(every)}{checks.meant(name, every)}")
    return every if not names else {name: every[name] for name in dict.fromkeys(names)}


def _pairs(given: list[str] | None, motifs: Sequence[str]) -> list[Pair]:
    """Return the pairs of motifs asked for; a name may itself hold a colon."""
    if given == ["none"]:
        return []
    if given is None or given == ["all"]:
        return list(itertools.combinations(motifs, 2)) if given or len(motifs) <= FEW_MOTIFS else []
    found: list[Pair] = []
    for text in given:
        cuts = [(text[:k], text[k + 1 :]) for k, letter in enumerate(text) if letter == ":"]
        if not cuts:
            raise InputError(f"--pairs takes two motifs, A:B; got {text!r}")
        fits = [cut for cut in cuts if set(cut) <= set(motifs)]
        if not fits:
            name = next((one for one in cuts[0] if one not in motifs), text)
            there = f"; it has {', '.join(motifs)}" if 0 < len(motifs) <= 2 * FEW_MOTIFS else ""
            raise InputError(f"--pairs {text}: there is no motif {name!r}{there}{checks.meant(name, motifs)}")
        if fits[0][0] == fits[0][1]:
            raise InputError(f"--pairs {text}: a pair is of two motifs; needed another than {fits[0][0]}")
        found.append(fits[0])
    return list(dict.fromkeys(found))


def _sequences(fasta: Path, loci: Path | None, length: int | None) -> Sequences:
    if loci is None:
        return read_fasta(fasta, length=length)
    if length is None:
        raise InputError("--loci needs --length, or an ensemble of fixed length: it says how wide the windows are")
    return read_loci(fasta, loci, length=length)


def _predictions(ensemble: Any, sequences: Sequences, tasks: list[str] | None) -> pd.DataFrame:
    """Return the mean over members of every task, and their spread, which is the known error of that context."""
    names = [task.name for task in ensemble.tasks]
    for name in tasks or ():
        if name not in names:
            raise InputError(f"the ensemble has no task {name!r}; it has {', '.join(names)}{checks.meant(name, names)}")
    ensemble.check(sequences.codes[:4])
    parts = []
    with meter(description="predictions", total=len(sequences), unit="loci") as advance:
        for start in range(0, len(sequences), LOCI_AT_ONCE):
            parts.append(ensemble.predict(sequences.codes[start : start + LOCI_AT_ONCE]))
            advance(parts[-1].shape[1])
    predicted = np.concatenate(parts, axis=1).astype(float)
    if len(predicted) == 1:
        log.warning("the ensemble has one member: its predictions have no spread, and are taken as without error")
    columns: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(tasks or names):
        values = predicted[:, :, names.index(name)]
        columns[f"pred_{name}"] = values.mean(axis=0)
        if len(values) > 1:
            columns[f"pred_{name}_se"] = values.std(axis=0, ddof=1)
    return pd.DataFrame(columns)
