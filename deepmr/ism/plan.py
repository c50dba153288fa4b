"""How the work is cut up: blocks of loci small enough to lose, large enough to fill batches."""

PASSES_PER_UNIT = 2**16
BYTES_PER_UNIT = 2**28


def block_size_of(n_loci: int, n_variants: int, length: int, n_tasks: int, *, n_kept: int | None = None) -> int:
    """Choose how many loci make a block, from the size of the job alone.

    Parameters
    ----------
    n_loci, n_variants : loci and their edits in all.
    length : bases of a locus.
    n_tasks : tasks kept.
    n_kept : effects kept of a task; by default one a variant.

    Returns
    -------
    Loci a block: about 2**16 passes of one member, at most about 256 MB, a multiple of 8 above 8.
    """
    per_locus, kept = (max(1, -(-n // max(1, n_loci))) for n in (n_variants, n_kept or n_variants))
    size = min(PASSES_PER_UNIT // (per_locus + 1), BYTES_PER_UNIT // (4 * kept * n_tasks + 16 * length))
    return max(1, size if size <= 8 else size // 8 * 8)


def split(n: int, size: int) -> list[slice]:
    """Cut n rows into runs of `size`, the last as long as what is left."""
    return [slice(a, min(a + size, n)) for a in range(0, n, size)]
