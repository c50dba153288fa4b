"""The four bases as small integers: to and from text, and a shuffle that keeps dinucleotides."""

import numpy as np
from jaxtyping import Bool, Int, UInt8

from deepmr.errors import InputError
from deepmr.types import ALPHABET, MASKED

AMBIGUOUS = "NRYSWKMBDHV"  # IUPAC codes for more than one base: the position is masked
_INVALID = 255
_LETTERS = np.frombuffer(f"{ALPHABET}N".encode(), dtype=np.uint8)


def _code_of_letter() -> UInt8[np.ndarray, "256"]:
    table = np.full(256, _INVALID, dtype=np.uint8)
    for letters, codes in ((ALPHABET, range(4)), ("U", [3]), (AMBIGUOUS, [MASKED] * len(AMBIGUOUS))):
        for letter, code in zip(letters, codes, strict=True):
            table[[ord(letter), ord(letter.lower())]] = code
    return table


_CODES = _code_of_letter()
NUCLEOTIDES = bytes(np.flatnonzero(_CODES != _INVALID).astype(np.uint8))  # every letter that `encode` takes


def encode(text: str | bytes) -> UInt8[np.ndarray, "length"]:
    """Turn a nucleotide sequence into codes.

    Parameters
    ----------
    text : bases in either case; lower case (soft-masked) means the same base, U counts as T.

    Returns
    -------
    0 1 2 3 for A C G T, 4 (masked) for N and the other IUPAC codes.

    Raises
    ------
    InputError
        Where a letter is no nucleotide code.

    Examples
    --------
    >>> encode("acGTN").tolist()
    [0, 1, 2, 3, 4]
    """
    raw = text.encode("utf-8") if isinstance(text, str) else text
    codes = _CODES[np.frombuffer(raw, dtype=np.uint8)]
    if codes.size and codes.max() == _INVALID:
        first = int(np.argmax(codes == _INVALID))
        raise InputError(f"{raw[first : first + 1]!r} at position {first + 1} is no nucleotide code")
    return codes


def decode(codes: UInt8[np.ndarray, "length"]) -> str:
    """Turn codes into text, a masked position into N.

    Examples
    --------
    >>> decode(np.array([0, 1, 2, 3, 4], dtype=np.uint8))
    'ACGTN'
    """
    return _LETTERS[codes].tobytes().decode()


def dinucleotide_shuffle(codes: UInt8[np.ndarray, "loci length"], *, seed: int) -> UInt8[np.ndarray, "loci length"]:
    """Shuffle every sequence and keep its count of each dinucleotide exactly.

    Parameters
    ----------
    codes : sequences; a masked position stays where it is, and the runs between masked positions are shuffled each
        by itself.
    seed : of the random numbers; the same codes and seed give the same shuffle.

    Returns
    -------
    Shuffled copies. The first and the last base of every run stay, as an Eulerian path must.

    Notes
    -----
    A sequence is an Eulerian path through the graph whose vertices are bases and whose edges are its dinucleotides.
    Every path is equally likely: the last edge out of each vertex is drawn as a random spanning tree towards the last
    base, the other edges come in random order before it. All sequences take each step together.

    References
    ----------
    Altschul SF, Erickson BW (1985). Significance of nucleotide sequence alignments. Mol Biol Evol 2:526-538.
    doi:10.1093/oxfordjournals.molbev.a040370
    """
    rng = np.random.default_rng(seed)
    shuffled = codes.copy()
    row, start, size = _runs(codes != MASKED)
    for length in np.unique(size[size > 3]):  # a shorter run has a single Eulerian path
        chosen = size == length
        where = row[chosen, None], start[chosen, None] + np.arange(length)
        shuffled[where] = _random_paths(codes[where], rng)
    return shuffled


def _runs(
    known: Bool[np.ndarray, "loci length"],
) -> tuple[Int[np.ndarray, "runs"], Int[np.ndarray, "runs"], Int[np.ndarray, "runs"]]:
    """Return row, start and size of every stretch of known bases."""
    edge = np.diff(np.pad(known, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(edge == 1)
    return row, start, np.nonzero(edge == -1)[1] - start


def _random_paths(codes: UInt8[np.ndarray, "runs size"], rng: np.random.Generator) -> UInt8[np.ndarray, "runs size"]:
    """Draw for every run an Eulerian path through its dinucleotides, all paths equally likely."""
    n, size = codes.shape
    rows = np.arange(n)
    left = np.zeros((n, 4, 4), dtype=np.int32)  # edges not yet walked
    np.add.at(left, (rows[:, None], codes[:, :-1], codes[:, 1:]), 1)
    end = codes[:, -1]
    last = _random_trees(left, end, rng)
    vertices = np.arange(4)
    reserved = (left.sum(axis=2) > 0) & (vertices != end[:, None])
    r, v = np.nonzero(reserved)
    left[r, v, last[r, v]] -= 1

    path = np.empty_like(codes)
    path[:, 0] = at = codes[:, 0]
    for step in range(1, size):
        free = left[rows, at]
        to = np.where(free.any(axis=1), _pick(free, rng), last[rows, at])
        left[rows, at, to] -= 1  # a reserved edge goes to -1 and its vertex is not left again
        path[:, step] = at = to
    return path


def _random_trees(
    edges: Int[np.ndarray, "runs 4 4"], end: UInt8[np.ndarray, "runs"], rng: np.random.Generator
) -> UInt8[np.ndarray, "runs 4"]:
    """Draw the last edge out of every vertex, such that following them leads to `end` from everywhere.

    Every vertex draws among its edges (never a loop, which leads nowhere); runs whose draw has a cycle draw again.
    """
    candidates = edges * (1 - np.eye(4, dtype=edges.dtype))
    tree = np.repeat(end[:, None], 4, axis=1)
    todo = np.arange(len(end))
    while todo.size:
        weights = candidates[todo]
        draw = np.where(weights.any(axis=2), _pick(weights, rng), end[todo, None]).astype(np.uint8)
        np.put_along_axis(draw, end[todo, None].astype(np.intp), end[todo, None], axis=1)
        twice = np.take_along_axis(draw, draw.astype(np.intp), axis=1)
        reached = np.take_along_axis(twice, twice.astype(np.intp), axis=1)  # four steps: enough for four vertices
        tree[todo] = draw
        todo = todo[(reached != end[todo, None]).any(axis=1)]
    return tree


def _pick(weights: Int[np.ndarray, "*batch 4"], rng: np.random.Generator) -> UInt8[np.ndarray, "*batch"]:
    """Draw an index of the last axis with probability proportional to its weight; where all are 0 the result is 0."""
    total = weights.cumsum(axis=-1)
    ticket = rng.random(weights.shape[:-1])[..., None] * total[..., -1:]
    return ((ticket >= total).sum(axis=-1) * (total[..., -1] > 0)).astype(np.uint8)
