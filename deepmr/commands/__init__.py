"""The commands: each composes stages and writes files.

A command is a function with keyword-only options; the command line, `deepmr run` and the Python API call the same one.
This table is the only registration; it is plain text, so that `deepmr --help` imports none of the functions.
"""

COMMANDS = {
    "demo": ("deepmr.commands.demo:demo", "Run everything on a small simulation and compare with the truth."),
    "simulate": ("deepmr.commands.simulate:simulate", "Simulate sequences and targets whose causal effects are known."),
    "train": ("deepmr.commands.train:train", "Train an ensemble on sequences and a table of targets."),
    "ism": ("deepmr.commands.ism:ism", "Mutate every base of every locus with every ensemble member."),
    "calibrate": (
        "deepmr.commands.calibrate:calibrate",
        "Measure and correct an ensemble's intervals on held-out loci.",
    ),
    "lmm": (
        "deepmr.commands.lmm:lmm",
        "Test every variant for association with traits of related samples, by a linear mixed model.",
    ),
    "lmm-join": (
        "deepmr.commands.lmm_join:lmm_join",
        "Join the tables of all shards of `deepmr lmm`, and make the figures and the page of the whole.",
    ),
    "mr": (
        "deepmr.commands.mr:mr",
        "Estimate causal effects: of one mark on another at every locus, or between traits of GWAS results.",
    ),
    "meta": ("deepmr.commands.meta:meta", "Pool the effects of all loci by random-effects meta-analysis."),
    "network": (
        "deepmr.commands.network:network",
        "Tell direct effects between tasks from those that pass through other tasks.",
    ),
    "thresholds": (
        "deepmr.commands.thresholds:thresholds",
        "Show how the pooled effect depends on which edits are instruments.",
    ),
    "sensitivity": (
        "deepmr.commands.sensitivity:sensitivity",
        "Check what an effect rests on, and say in words what methods agree on.",
    ),
    "diagnose": (
        "deepmr.commands.diagnose:diagnose",
        "Diagnose estimates: what speaks for them, what against, and a verdict in words.",
    ),
    "seqlets": (
        "deepmr.commands.seqlets:seqlets",
        "Find the motif-sized parts of each locus, and say which carries the effect and which contradicts it.",
    ),
    "features": (
        "deepmr.commands.features:features",
        "Describe loci by their reference sequences: motifs, how they lie, composition, predictions.",
    ),
    "context": (
        "deepmr.commands.context:context",
        "Fit how the effect of one mark on another varies with the context of a locus.",
    ),
    "report": ("deepmr.commands.report:report", "Write one self-contained HTML page of a run."),
    "run": ("deepmr.commands.run:run", "Run the steps that a TOML file lists."),
    "info": ("deepmr.commands.info:info", "Show what an effects file holds."),
    "model import": ("deepmr.commands.model:import_", "Convert PyTorch state dicts into an ensemble directory."),
    "model info": ("deepmr.commands.model:info", "Show what an ensemble directory holds."),
    "cohort simulate": (
        "deepmr.commands.cohort_simulate:cohort_simulate",
        "Simulate genotypes, traits and covariates of related samples, whose causal effects are known.",
    ),
    "iv simulate": (
        "deepmr.commands.iv_simulate:iv_simulate",
        "Simulate individual-level data with instruments, and the true response.",
    ),
    "iv fit": (
        "deepmr.commands.iv_fit:fit",
        "Fit how an outcome responds to an exposure, by instruments, from a table of samples.",
    ),
    "iv evaluate": (
        "deepmr.commands.iv_evaluate:evaluate",
        "Evaluate fits: their curves, effects and intervals, against the truth where it is known.",
    ),
    "iv sweep": (
        "deepmr.commands.iv_sweep:sweep",
        "Fit a method with many choices of its options, and compare the fits on held-out samples.",
    ),
    "iv methods": ("deepmr.commands.iv_methods:methods", "List the methods of deepmr iv fit, or the options of one."),
}

# Of commands in two words: what the first word stands for.
GROUPS = {
    "model": "Import and inspect ensembles.",
    "cohort": "Simulate cohorts: genotypes, traits and covariates.",
    "iv": "Fit and evaluate nonlinear dose responses from individual-level data.",
}
