"""Ready cohorts of three or more traits: the first causes the second and no other, and a confounder moves them all."""

from dataclasses import replace

from deepmr.simulate.cohorts import CohortDesign

_FAMILIES = CohortDesign(
    n_samples=1_500,
    n_variants=10_000,
    n_traits=3,
    trait_names=("x", "y", "z"),
    n_sites=3,
    n_chromosomes=10,
    ld=0.9,
    h_sq=0.2,
    n_causal=10,
    causal_share=0.4,
    environment_corr=0.5,
    slope=(0.4, 0.0),
    missing=0.005,
)

DESIGNS: dict[str, tuple[CohortDesign, str]] = {
    "families": (_FAMILIES, "full siblings, four a family; a confounder moves all traits"),
    "unrelated": (replace(_FAMILIES, family_size=1), "the same, nobody related"),
    "populations": (
        replace(_FAMILIES, n_populations=3, fst=0.03),
        "families of three populations whose allele frequencies differ",
    ),
    "null": (replace(_FAMILIES, slope=0.0), "families in which no trait causes another, though all correlate"),
    "environment": (
        replace(_FAMILIES, h_sq=0.1, shared_environment=0.1),
        "siblings are alike for other reasons too, which heritability takes for genes",
    ),
}
