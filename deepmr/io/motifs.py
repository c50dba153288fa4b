"""Motif matrices as MEME minimal text."""

from collections.abc import Iterator, Mapping
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from jaxtyping import Float

from deepmr.errors import InputError
from deepmr.io.files import atomic_path
from deepmr.simulate.motifs import BACKGROUND, MotifSet
from deepmr.types import ALPHABET

PAPER_MOTIFS = ("GATA_disc1", "TAL1_known1", "SOX2_1")  # exposure, outcome, confounder
SUM_TOLERANCE = 0.01


def read_motifs(path: Path) -> dict[str, Float[np.ndarray, "_ 4"]]:
    """Read the motifs of a MEME minimal file.

    Parameters
    ----------
    path : MEME minimal text, DNA.

    Returns
    -------
    Base probabilities by motif name, in the order of the file; rows are positions, columns A C G T.

    Raises
    ------
    InputError
        When the file is missing, is not MEME text of DNA motifs, or a row is not four probabilities.

    References
    ----------
    https://meme-suite.org/meme/doc/meme-format.html
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from error
    if not any(line.startswith("MEME version") for line in lines):
        raise InputError(f"{path}: is not MEME text: no line starts with 'MEME version'")
    motifs: dict[str, Float[np.ndarray, "_ 4"]] = {}
    name = ""
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        words = line.split()
        if line.startswith("ALPHABET") and words[-1] != ALPHABET:
            raise InputError(f"{path}, line {number}: the alphabet must be {ALPHABET}; got {words[-1]}")
        if line.startswith("MOTIF"):
            name = _read_name(path, number, words, motifs)
        elif line.startswith("letter-probability matrix"):
            if not name or name in motifs:
                raise InputError(f"{path}, line {number}: a matrix without a MOTIF line of its own")
            motifs[name] = _read_matrix(path, name, _width(path, number, line), numbered)
    if not motifs:
        raise InputError(f"{path}: has no motifs")
    return motifs


def write_motifs(motifs: Mapping[str, Float[np.ndarray, "_ 4"]], path: Path, *, url: str = "") -> None:
    """Write motifs as MEME minimal text, with six decimals.

    Parameters
    ----------
    motifs : base probabilities by name.
    path : file to write.
    url : where the motifs come from, written after each; none by default.
    """
    frequencies = " ".join(f"{base} {share}" for base, share in zip(ALPHABET, BACKGROUND, strict=True))
    text = ["MEME version 4", "", f"ALPHABET= {ALPHABET}", "", "strands: +", ""]
    text += ["Background letter frequencies", frequencies, ""]
    for name, matrix in motifs.items():
        text += [f"MOTIF {name}", f"letter-probability matrix: alength= 4 w= {len(matrix)}"]
        text += [" " + "  ".join(f"{value:.6f}" for value in row) for row in matrix]
        text += [f"URL {url}", ""] if url else [""]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(text), encoding="utf-8")


def paper_motifs() -> MotifSet:
    """Return the motifs of the paper's simulation: GATA (exposure), TAL1 (outcome), SOX2 (confounder).

    References
    ----------
    Kheradpour P, Kellis M (2014). Systematic discovery and characterization of regulatory motifs in ENCODE TF binding
    experiments. Nucleic Acids Res 42:2976-2987. doi:10.1093/nar/gkt1249
    """
    with as_file(files("deepmr.simulate") / "motifs.meme") as path:
        motifs = read_motifs(path)
    exposure, outcome, confounder = (motifs[name] for name in PAPER_MOTIFS)
    return MotifSet(names=PAPER_MOTIFS, matrices=(exposure, outcome, confounder))


def _read_name(path: Path, number: int, words: list[str], motifs: Mapping[str, object]) -> str:
    if len(words) < 2:
        raise InputError(f"{path}, line {number}: a MOTIF line needs a name")
    if words[1] in motifs:
        raise InputError(f"{path}, line {number}: motif {words[1]!r} occurs more than once")
    return words[1]


def _width(path: Path, number: int, line: str) -> int | None:
    """Return the number of positions that the matrix line states, if it does."""
    words = line.replace("=", " = ").split()
    if "w" not in words:
        return None
    try:
        return int(words[words.index("w") + 2])
    except (IndexError, ValueError) as error:
        raise InputError(f"{path}, line {number}: w= must be a number of positions") from error


def _read_matrix(
    path: Path, name: str, width: int | None, lines: Iterator[tuple[int, str]]
) -> Float[np.ndarray, "_ 4"]:
    """Read as many rows as are stated, or until the matrix ends."""
    rows: list[list[float]] = []
    while width is None or len(rows) < width:
        number, line = next(lines, (0, ""))
        if not line.strip() or line.startswith("URL"):
            break
        try:
            row = [float(word) for word in line.split()]
        except ValueError as error:
            raise InputError(f"{path}, line {number}: motif {name}: {line.strip()!r} is no row of numbers") from error
        if len(row) != 4 or min(row) < 0 or not abs(sum(row) - 1) <= SUM_TOLERANCE:
            raise InputError(f"{path}, line {number}: motif {name}: needs four probabilities that sum to 1; got {row}")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: motif {name}: has no rows")
    if width is not None and len(rows) < width:
        raise InputError(f"{path}: motif {name}: has {len(rows)} positions; its matrix line says {width}")
    return np.array(rows)
