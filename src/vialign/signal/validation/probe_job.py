"""The probe of relations in a run."""

from vialign.backbone import load_backbone
from vialign.disentangle import load_text
from vialign.files.artifacts import read_table, write_table
from vialign.language.pipeline import load_pipeline
from vialign.signal.calibration import read_calibration
from vialign.signal.inputs import read_image_side
from vialign.signal.validation.statements import probe_split
from vialign.stage import Run
from vialign.tables.data import OBJECTS, RELATIONS
from vialign.tables.signal import PROBE


def probe_relations(run: Run) -> None:
    """What a linear probe reads of labelled relations."""
    table = probe_split(
        read_image_side(run.input.image_features, run.input.visual),
        read_table(run.input.relations, RELATIONS),
        read_table(run.input.objects, OBJECTS),
        load_backbone(run.config.backbone, run.config.seed),
        load_pipeline(run.input.pipeline),
        load_text(run.input.text),
        read_calibration(run.input.calibration),
        run.config.signal,
        run.config.seed,
    )
    write_table(table, PROBE, run.output[0], run.provenance)
