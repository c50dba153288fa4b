"""Models of one's own from Python files, and drawn samples as files: parameters as JSON, all variables as csv.gz."""

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from deepmr import checks
from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.simulate.models import Model
from deepmr.simulate.sampling import Sample

FORMAT, VERSION = "deepmr-sample", 1


def read_model(where: str) -> Model:
    """Run a Python file of one's own and return a model that it defines.

    Parameters
    ----------
    where
        FILE.py:NAME, with the name of a `Model`.

    Raises
    ------
    InputError
        When there is no such file or name, the file fails, or what it defines is no `Model`.
    """
    file, _, name = where.rpartition(":")
    path = Path(file)
    if not name or path.suffix != ".py":
        raise InputError(f"a model of your own is given as FILE.py:NAME; got {where!r}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:  # whatever somebody's file does
        raise InputError(f"{path}: cannot be run: {type(error).__name__}: {error}") from error
    names = [key for key, value in vars(module).items() if isinstance(value, Model)]
    if name not in names:
        there = f"it defines {', '.join(names)}" if names else "it defines none"
        raise InputError(f"{path}: has no model called {name}{checks.meant(name, names)}; {there}")
    return getattr(module, name)


def write_sample(sample: Sample, prefix: Path) -> None:
    """Write a drawn sample: `PREFIX.json` with its parameters and roles, `PREFIX.csv.gz` with every variable.

    Parameters
    ----------
    sample
        What `draw_sample` returned; hidden variables are written too.
    prefix
        Path without a suffix.
    """
    model = sample.model
    record = {
        "format": FORMAT,
        "format_version": VERSION,
        "model": model.name,
        "seed": sample.seed,
        "n": len(sample),
        "exposure": model.exposure,
        "outcome": model.outcome,
        "instruments": list(sample.data.instrument_names),
        "covariates": list(sample.data.covariate_names),
        "outcome_type": model.outcome_type,
        "parameters": plain_parameters(sample),
    }
    data, beside = (prefix.with_name(prefix.name + suffix) for suffix in (".csv.gz", ".json"))
    with atomic_path(data) as table, atomic_path(beside) as text:
        lines = sample.to_frame().to_csv(index=False).encode()
        table.write_bytes(gzip.compress(lines, mtime=0))  # without a time or name: the same sample, the same bytes
        text.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def plain_parameters(sample: Sample) -> dict[str, Any]:
    """Return the parameters of a sample as JSON can hold them.

    Parameters
    ----------
    sample
        What `draw_sample` returned.
    """
    return {name: np.asarray(value).tolist() for name, value in sample.parameters.items()}


def read_parameters(path: Path) -> dict[str, Any]:
    """Read the parameters that `write_sample` wrote, to draw from the model again with the same ones.

    Parameters
    ----------
    path
        PREFIX.json.

    Raises
    ------
    InputError
        When it is not such a file.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError(f"{path}: is not the record of a drawn sample")
    return {k: np.array(v, dtype=float) if isinstance(v, list) else v for k, v in record["parameters"].items()}
