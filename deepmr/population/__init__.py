"""Association in a population: relationship matrices, linear mixed models, and tests of every variant."""

from deepmr.population.association import Associations, associate_variants
from deepmr.population.leave_out import LeaveOneOut, leave_one_out
from deepmr.population.null_model import NullModel, fit_null
from deepmr.population.projection import project
from deepmr.population.randomized import randomized_spectrum
from deepmr.population.relationship import Relationship, relationship_of, spectrum_of_relationship
from deepmr.population.scan import Scan, block_table, prepare_scan, scan_block, scan_rotated
from deepmr.population.spectrum import Spectrum, spectrum_of_effects, spectrum_of_kinship

__all__ = [
    "Associations",
    "LeaveOneOut",
    "NullModel",
    "Relationship",
    "Scan",
    "Spectrum",
    "associate_variants",
    "block_table",
    "fit_null",
    "leave_one_out",
    "prepare_scan",
    "project",
    "randomized_spectrum",
    "relationship_of",
    "scan_block",
    "scan_rotated",
    "spectrum_of_effects",
    "spectrum_of_kinship",
    "spectrum_of_relationship",
]
