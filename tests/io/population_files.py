"""Files of genotypes, written by the tests that read them."""

import numpy as np

from deepmr.io.plink import MAGIC

CALLS = {0: "0/0", 1: "0/1", 2: "1/1"}
HEAD = (
    '##fileformat=VCFv4.2\n##contig=<ID=chr1>\n##contig=<ID=chrX>\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="call">\n'
    '##FORMAT=<ID=DS,Number=A,Type=Float,Description="dosage">\n'
)  # fmt: skip


def random_dosages(seed=0, *, variants=50, samples=11):
    rng = np.random.default_rng(seed)
    dosages = rng.binomial(2, 0.4, (variants, samples)).astype(float)
    dosages[rng.uniform(size=dosages.shape) < 0.1] = np.nan
    return dosages


def write_plink(stem, dosages, *, families=None, ids=None, names=None):
    """Write .bed, .bim and .fam; dosages are variants by samples and count A, the other allele is G."""
    variants, samples = dosages.shape
    codes = np.where(np.isnan(dosages), 1, np.select([dosages == 2, dosages == 1], [0, 2], 3)).astype(np.uint8)
    codes = np.pad(codes, ((0, 0), (0, -samples % 4))).reshape(variants, -1, 4)
    packed = (codes << np.array([0, 2, 4, 6], dtype=np.uint8)).sum(2).astype(np.uint8)
    stem.with_name(stem.name + ".bed").write_bytes(MAGIC + packed.tobytes())
    names = names or [f"rs{k}" for k in range(variants)]
    bim = [f"{1 + k % 2} {name} 0 {k + 1} A G\n" for k, name in enumerate(names)]
    stem.with_name(stem.name + ".bim").write_text("".join(bim))
    ids = ids or [f"s{k}" for k in range(samples)]
    families = families or ["F"] * samples
    fam = [f"{family} {one} 0 0 1 -9\n" for family, one in zip(families, ids, strict=True)]
    stem.with_name(stem.name + ".fam").write_text("".join(fam))
    return stem


def write_vcf(path, rows, *, ids, head=HEAD):
    """Write lines of (chrom, pos, id, ref, alt, format, cells)."""
    lines = [
        "\t".join([chrom, str(pos), name, ref, alt, ".", ".", ".", keys, *cells])
        for chrom, pos, name, ref, alt, keys, cells in rows
    ]
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *ids]
    path.write_text(head + "\n".join(["\t".join(columns), *lines]) + "\n")
    return path


def called_rows(dosages):
    return [
        ("chr1", k + 1, f"rs{k}", "G", "A", "GT", [CALLS.get(one, "./.") for one in row])
        for k, row in enumerate(dosages)
    ]


def write_bimbam(path, dosages, *, separator=", "):
    rows = [
        [f"rs{k}", "A", "G", *("NA" if np.isnan(one) else f"{one:g}" for one in row)] for k, row in enumerate(dosages)
    ]
    path.write_text("".join(separator.join(row) + "\n" for row in rows))
    return path
