#!/bin/sh
# The walk of docs/walk.md: every step by the command line, in the folder given (default: here). About four minutes on two cores.
# Sizes can be set for a quick look: N_TRAIN=400 EPOCHS=2 sh simulations/walk.sh folder
set -eu
N_TRAIN=${N_TRAIN:-10000} EPOCHS=${EPOCHS:-20} N_TEST=${N_TEST:-1000} SPLIT=${SPLIT:-500} SAMPLE=${SAMPLE:-100}
mkdir -p "${1:-.}" && cd "${1:-.}"

deepmr simulate --out simulation --scenario both --gamma 10 --loci both \
  --n-train "$N_TRAIN" --n-test "$N_TEST" --calibration-split "$SPLIT" --labelled-edits 5 --seed 0
deepmr train --fasta simulation/train.fa --targets simulation/train.tsv --counts GATA TAL1 \
  --members 5 --epochs "$EPOCHS" --seed 0 --out ensemble

deepmr ism --model ensemble --fasta simulation/test.fa --out effects.h5
deepmr mr effects.h5 --out mr_model.tsv
deepmr meta mr_model.tsv --out meta_model.tsv
deepmr mr effects.h5 --interval mean --out mr_mean.tsv
deepmr meta mr_mean.tsv --out meta_mean.tsv

deepmr ism --model ensemble --fasta simulation/calibration.fa --out labelled.h5
deepmr calibrate --labelled-edits simulation/labelled_edits.tsv --targets simulation/calibration.tsv \
  --where kind=both --sample "$SAMPLE" --effects labelled.h5 --out labels.json
deepmr mr effects.h5 --calibration labels.json --out mr.tsv
deepmr meta mr.tsv --out meta.tsv

deepmr diagnose effects.h5 --estimates mr.tsv --meta meta.tsv --model ensemble --out diagnostics
deepmr seqlets effects.h5 --exposure GATA --outcome TAL1 --out seqlets.tsv
deepmr thresholds effects.h5 --exposure GATA --outcome TAL1 --out thresholds.tsv
deepmr report effects.h5 --estimates mr.tsv --meta meta.tsv --labelled labels.json --diagnostics diagnostics \
  --seqlets seqlets.tsv --thresholds thresholds.tsv --truth simulation/truth.tsv --out report.html
