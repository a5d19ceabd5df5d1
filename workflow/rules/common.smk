# Shared by all stages - the checked config, the splits, the digests, and the gates.
import functools
import os
import sys
import tempfile
from pathlib import Path

from vialign.catalogue import (
    AVERAGED,
    BOX_METHODS,
    FULL,
    GUIDED,
    LONG,
    REGION_METHODS,
    REWEIGHTED,
    TOWER_METHODS,
    UNTRAINED,
    family,
    trained_as,
)
from vialign.catalogue import SUBSETS as ALL_SUBSETS
from vialign.config.experiment import load_config, read_layer
from vialign.data.folders import EMBEDDED, check_run_folders, sources
from vialign.digest import script_digests
from vialign.errors import UserError, require
from vialign.evaluation.frontier import check_frontier
from vialign.evaluation.reproduction import has_known_values
from vialign.names import PACKAGED, SOURCE_SPLITS, SPLITS_OF
from vialign.gates.verdict import chosen_method, gate_action
from vialign.files.locks import lock_results, remove_stale_locks, remove_stale_parts
from vialign.report.tracking import require_tracker
from vialign.config.sections import (
    EVERYTHING,
    same_stamp,
    section_digests,
    stamp_path,
    write_stamp,
)

try:
    require("peft", "baselines", "LoRA, which every run compares with,")
    for path in workflow.configfiles:
        read_layer(path)  # Snakemake takes the last of two keys with one name
    CONFIG = load_config(config)
    check_run_folders(CONFIG)
    require_tracker(CONFIG.report.tracking)
    check_frontier(CONFIG.report)  # now, not when the report is written
    REPRODUCED = has_known_values(
        CONFIG.backbone.architecture,
        CONFIG.backbone.checkpoint,
        CONFIG.evaluation.expected,
        CONFIG.evaluation.published,
    )
except UserError as error:
    sys.exit(f"vialign: {error}")

# Beside this file, which may lie in the installed package (`vialign init`).
CODE = script_digests(Path(str(workflow.current_basedir)).parent.glob("scripts/*.py"))
CONFIG_TREE = CONFIG.model_dump(mode="json")
RESULTS = CONFIG.results
# Another domain for the stress test: only the embedded world can draw one.
OTHER_DOMAIN = ["diagnosis_domain"] if CONFIG.data.dataset in EMBEDDED else []
# Labels of another data set fill splits of their own, of which only the images are read: those that the dictionary is
# fitted and measured on, and that of the probe.
FROM_SOURCES = [split for key in sources(CONFIG.data) for split in SPLITS_OF[key]]
FITTED, MEASURED = (
    SPLITS_OF["disentangle"] if CONFIG.data.disentangle else ("train", "selection")
)
(PROBED,) = SPLITS_OF["probe"] if CONFIG.data.probe else ("diagnosis",)
TUNING_SPLITS = ["train", "calibration", "diagnosis", *OTHER_DOMAIN, "selection"]
SPLITS = [*TUNING_SPLITS, "gate", "confirmation", *CONFIG.test_splits]
SUBSETS = list(ALL_SUBSETS)
SEEDS = CONFIG.training.seeds
COMPARED_SEEDS = CONFIG.training.compare_seeds
TRAINED_SEEDS = list(dict.fromkeys([*SEEDS, *COMPARED_SEEDS]))
# Methods whose trainings and evaluations are a job for each seed: they run a tower, or have one seed only, or are made
# of a training of such a kind or another.
APART = "|".join(sorted({*UNTRAINED, *TOWER_METHODS, *REGION_METHODS, *AVERAGED}))
TOGETHER = f"(?!(?:{APART})/)[a-z-]+"
DEMO = "vialign-scenes"
# Of the demo backbone two checkpoints ship; a run with one shows what the other reads, frozen.
OTHER_BACKBONE = dict(zip(PACKAGED, reversed(PACKAGED))).get(CONFIG.backbone.checkpoint)
# Phrases with boxes that people wrote: where the config names them, prototypes and patches are checked on them too.
GROUNDED = "flickr30k_entities"
# Sections of the config that several rules read: to build a method and give it its data (the limit of parameters sizes
# it); for intervals and tests; and for the names of the test splits.
BUILDING = [
    "backbone",
    "baselines",
    "budget.parameters",
    "curriculum",
    "data",
    "seed",
    "signal",
    "text",
    "training",
    "visual",
]
ATTRIBUTED = "confirmation"
"""The split that trainings with something replaced are measured on: nothing is chosen on it."""
CHOOSING = "selection"
"""The split for what leads to a choice: how many labelled images the dictionary needs became the default."""
STATISTICS = ["evaluation.bootstrap", "evaluation.level", "seed"]
TESTING = ["data.benchmarks", "evaluation.splits"]


wildcard_constraints:
    split="[a-z_]+",
    method="[a-z-]+",
    seed=r"\d+",
    part="whole|driver|local|decisive",


def code(script):
    """Digest of the script and of all package code that it reaches: a change of that code re-runs the rule."""
    return CODE[script]


def section(*names):
    """The config sections that a rule reads, each with its digest. A change of another section does not re-run it, and
    a job that reads another section is an error. A part of a section is named with dots.
    """
    return section_digests(CONFIG_TREE, *names)


def filled(files, **values):
    """`expand` for files of a rule. It takes none that lie in a storage, so they go by the names that the rule states."""
    prefix = f"{(workflow.storage_settings.default_storage_prefix or '').rstrip('/')}/"
    return expand(
        [
            file.storage_object.query.removeprefix(prefix) if file.is_storage else file
            for file in ([files] if isinstance(files, str) else files)
        ],
        **values,
    )


def called():
    """How this run was called, as far as a command that takes it up again must say: the snakefile where it is not found
    by itself, the config files, and what was set on the command line."""
    here = Path.cwd()
    given = {"--configfile": workflow.config_settings.configfiles}
    if Path(workflow.basedir).resolve() != here.resolve():
        given = {"--snakefile": [Path(workflow.basedir) / "Snakefile"], **given}
    files = {
        option: [
            str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
            for path in map(Path, paths)
        ]
        for option, paths in given.items()
    }
    return {"files": files, "config": dict(workflow.config_settings.config)}


def finished_methods():
    """Methods that are trained to the end: the configured ones and the chosen combination."""
    return list(dict.fromkeys([*CONFIG.training.methods, chosen()]))


def each_run(output):
    """The files of every finished method and seed; a method that draws nothing runs once."""
    return [
        path
        for method in finished_methods()
        for path in filled(
            output, method=method, seed=SEEDS[:1] if method in UNTRAINED else SEEDS
        )
    ]


def headline_runs(output):
    """The files of the chosen combination and of what it is held against, as far as the run has them."""
    wanted = {chosen(), "frozen", "lora"}
    return [path for path in each_run(output) if Path(path).parts[-3] in wanted]


def compared():
    """The configured methods and the chosen combination."""
    return list(dict.fromkeys([*CONFIG.training.compared, chosen()]))


def of_trained(output):
    """The same of those that are trained: an average is made of another's training."""
    return [
        path for path in of_compared(output) if Path(path).parts[-3] not in AVERAGED
    ]


def of_compared(output):
    """The files of every compared method and seed; a method that draws nothing runs once."""
    return [
        path
        for method in compared()
        for path in filled(
            output,
            method=method,
            seed=COMPARED_SEEDS[:1] if method in UNTRAINED else COMPARED_SEEDS,
        )
    ]


def finished_outcomes():
    return each_run(rules.evaluate_method.output.outcomes)


def evidence(wildcards):
    """What the report shows, up to the first gate that stopped or all of it; the theory reads no data, so it is always
    there.
    """
    tables = [
        *rules.theory.output,
        *rules.prepare_data.output,
        rules.train_language.output.quality,
        *rules.readout.output,
        rules.fit_visual.output.quality,
        rules.fit_text.output.quality,
        rules.fit_text.output.spans,
        *(rules.text_domains.output if CONFIG.language.domains else []),
        *(rules.point_phrases.output if GROUNDED in CONFIG.data.benchmarks else []),
        *rules.score_pairs.output,
        *rules.calibrate_signal.output,
        *rules.diagnose.output,
        *rules.probe.output,
        *rules.stress.output,
        *rules.signal_gate.output,
    ]
    if stopped(checkpoints.signal_gate.get().output):
        return tables
    tables += [*rules.ledger.output, *rules.budget_gate.output]
    if stopped(checkpoints.budget_gate.get().output):
        return tables
    tables += [*rules.early_gate.output]
    if stopped(checkpoints.early_gate.get().output):
        early = rules.train_early.output
        followed = [early.steps, early.monitor, early.signal_monitor]
        early_methods = [FULL, "lora"]
        return [
            *tables,
            *searches(early_methods),
            *filled(followed, method=early_methods, seed=SEEDS),
        ]
    return [
        *tables,
        *searches(finished_methods()),
        *rules.ablation.output,
        *rules.attribution.output,
        *rules.spend.output,
        *each_run(rules.train_early.output.steps),
        *each_run(rules.train_final.output),
        *rules.agreement.output,
        *rules.blind_benchmarks.output,
        *rules.compare.output,
        *(rules.compare_backbones.output if OTHER_BACKBONE else []),
        *rules.confirm.output,
        *rules.reproduce.output,
        *rules.failures.output,
        *rules.monitoring.output,
        *rules.gradients.output,
        *rules.trust.output,
    ]


def reproduced(method):
    """The table of reproduced numbers, which a method is trained after, where anything is known of the backbone."""
    wanted = REPRODUCED and method != "frozen"
    return [f"{RESULTS}/compare/reproduction.parquet"] if wanted else []


# The demo backbone is too small to keep a second core busy: two jobs side by side are faster than one on two cores.
TOWER_THREADS = 1 if CONFIG.backbone.architecture == DEMO else 4


def cores(method):
    """Those that the towers use for a method that runs one in each step; the others have no work for two."""
    return TOWER_THREADS if trained_as(method) in TOWER_METHODS else 1


def training_cores(method):
    """Those of every process of a node that shares the batches."""
    return cores(method) * CONFIG.training.processes


def training_splits(wildcards):
    """What training reads of its two splits."""
    found = {
        f"{split}_{name}": path
        for split in ("train", "selection")
        for name, path in encoded(split).items()
    }
    regions = regions_of(wildcards.method, ["train", "selection"])
    boxed = wildcards.method in BOX_METHODS
    objects = {"objects": rules.prepare_data.output.objects} if boxed else {}
    return {**found, **regions, **objects}


def evaluated_splits(wildcards):
    """What the evaluation of a method reads of the test splits."""
    found = {
        f"{split}_{name}": path
        for split in CONFIG.test_splits
        for name, path in encoded(split).items()
    }
    return {**found, **regions_of(wildcards.method, CONFIG.test_splits)}


def regions_of(method, splits):
    """The regions of these splits, for a method that reads them; of no other run are they a part."""
    wanted = splits if method in REGION_METHODS else []
    return {
        f"{split}_regions": f"{RESULTS}/regions/{split}.safetensors" for split in wanted
    }


def searched_as(method):
    """The method whose search gives this one its learning rate; none where nothing is trained."""
    if method in UNTRAINED or len(CONFIG.training.search.factors) == 1:
        return None
    return family(method)


def searched(wildcards):
    """The search for a method's learning rate, where there is something to search."""
    return searched_for(wildcards.method)


def searched_for(method):
    """The same for a method that is known."""
    name = searched_as(method)
    return {"search": f"{RESULTS}/search/{name}.parquet"} if name else {}


def searches(methods):
    """The searches for the learning rates of these methods."""
    names = dict.fromkeys(searched_as(method) for method in methods)
    return [f"{RESULTS}/search/{name}.parquet" for name in names if name]


def trained(files, seeds=None):
    """What a training writes of each seed, or of the seed in the wildcard."""
    if seeds is None:
        return {
            name: f"{RESULTS}/train/{{method}}/{{seed}}/{file}"
            for name, file in files.items()
        }
    return {
        name: [f"{RESULTS}/train/{{method}}/{seed}/{file}" for seed in seeds]
        for name, file in files.items()
    }


def started(files, seeds=None):
    """What the second stretch of a training reads of the first."""
    found = trained(files, seeds)
    parts = {
        name: found[name] for name in ("steps", "monitor", "signal_monitor", "trail")
    }
    return {
        "start": found["checkpoint"],
        **{f"start_{name}": path for name, path in parts.items()},
    }


def encoded(split):
    """What a stage reads of a split: texts, features, and its prototypes and phrases."""
    return dict(
        texts=f"{RESULTS}/language/{split}/texts.parquet",
        image_features=f"{RESULTS}/features/{split}/images",
        text_features=f"{RESULTS}/features/{split}/texts",
        encoded=f"{RESULTS}/disentangle/{split}/encoded.safetensors",
    )


def retrained(wildcards, measured=ATTRIBUTED):
    """What a training with something replaced reads, of the train split and of the one that it is measured on."""
    return {
        f"{split}_{part}": path
        for split in ("train", measured)
        for part, path in encoded(split).items()
    }


def refitted(wildcards, measured=ATTRIBUTED):
    """What dictionaries that are fitted again read and encode, of the same splits; `fitted` is what they are fitted on."""
    found = {
        f"{split}_{part}": path
        for split in ("train", measured)
        for part, path in dict(
            images=f"{RESULTS}/features/{split}/images",
            features=f"{RESULTS}/features/{split}/texts",
            texts=f"{RESULTS}/language/{split}/texts.parquet",
            units=f"{RESULTS}/language/{split}/units.parquet",
            encoded=f"{RESULTS}/disentangle/{split}/encoded.safetensors",
        ).items()
    }
    return {**found, "fitted": f"{RESULTS}/features/{FITTED}/images"}


def attributed(wildcards):
    """The trainings that the attribution reads: everything of the chosen combination, what decides of the full model."""
    parts = {FULL: ("whole", "decisive"), chosen(): ("whole", "driver", "local")}
    return [
        f"{RESULTS}/attribute/{method}/{part}.parquet"
        for method, wanted in parts.items()
        for part in wanted
    ]
