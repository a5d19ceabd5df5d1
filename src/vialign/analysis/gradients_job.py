"""What the gradients asked for along the trails of all trainings."""

from vialign.analysis.gradients import TrailedRun, analyse_gradients
from vialign.files.artifacts import write_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.checkpoint import load_trail
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.inputs import read_split
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.training import GRADIENT_SAMPLES, GRADIENT_TERMS, OPTIMISATION_PATH
from vialign.training.records import training_of


def trace_gradients(run: Run) -> None:
    """What the gradients asked for along the trails of all trainings."""
    config = run.config
    calibration = read_calibration(run.input.calibration)
    runs = []
    for path in run.input.trails:
        name, seed = training_of(path)
        backbone = open_backbone(name, config, run.input["image_features"])
        method = build_method(name, config, backbone, calibration, seed)
        assert isinstance(method, CurriculumMethod)
        runs.append(TrailedRun(method, seed, load_trail(path)))
    settings = config.evaluation
    terms, samples, path = analyse_gradients(
        runs,
        read_split(
            *(run.input[part] for part in ("texts", "image_features", "text_features", "encoded")),
            needs=frozenset().union(*(trailed.method.needs for trailed in runs)),
        ),
        config.gradients,
        level=settings.level,
        replicates=settings.bootstrap,
        seed=config.seed,
    )
    write_table(terms, GRADIENT_TERMS, run.output.terms, run.provenance)
    write_table(samples, GRADIENT_SAMPLES, run.output.samples, run.provenance)
    write_table(path, OPTIMISATION_PATH, run.output.path, run.provenance)
