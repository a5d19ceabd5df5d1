#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder of the run: the package of the clone, where that is one.
set -euo pipefail
if [ -f pyproject.toml ] && [ -d src/vialign ]; then
    python -m pip install --no-deps --editable .
else
    python -m pip install --no-deps vialign
fi
