# What every rule shares: the checked config, the splits, the digests, and the gates.
import sys

from vialign.config import load_config, section_digest
from vialign.digest import script_digest
from vialign.errors import UserError
from vialign.gates import chosen_method, gate_action

try:
    CONFIG = load_config(config)
except UserError as error:
    sys.exit(f"vialign: {error}")

RESULTS = CONFIG.results
TUNING_SPLITS = ["train", "calibration", "diagnosis", "validation"]
SPLITS = [*TUNING_SPLITS, *CONFIG.evaluation.splits]
FULL = "vialign"
SUBSETS = [
    "vialign-none",
    "vialign-reweight",
    "vialign-regularise",
    "vialign-correct",
    "vialign-reweight-regularise",
    "vialign-reweight-correct",
    "vialign-regularise-correct",
    FULL,
]
SEEDS = CONFIG.training.seeds


wildcard_constraints:
    split="[a-z_]+",
    method="[a-z-]+",
    seed=r"\d+",


def code(script):
    """Digest of the script and of all package code that it reaches: a change of that code re-runs the rule."""
    return script_digest(f"{workflow.basedir}/workflow/scripts/{script}.py")


def section(*names):
    """Digest of the config sections that a rule reads: a change of another section does not re-run it."""
    return section_digest(CONFIG, *names)


def stopped(checkpoint_output):
    """Whether the verdict table of a gate says that the pipeline stops there."""
    return gate_action(str(checkpoint_output)) == "stop"
