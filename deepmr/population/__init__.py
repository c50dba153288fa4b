"""Association in a population: relationship matrices, linear mixed models, and tests of every variant."""

from deepmr.population.association import Associations, associate_variants
from deepmr.population.null_model import NullModel, fit_null
from deepmr.population.projection import project
from deepmr.population.spectrum import Spectrum, spectrum_of_effects, spectrum_of_kinship

__all__ = [
    "Associations",
    "NullModel",
    "Spectrum",
    "associate_variants",
    "fit_null",
    "project",
    "spectrum_of_effects",
    "spectrum_of_kinship",
]
