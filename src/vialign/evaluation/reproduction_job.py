"""The frozen backbone against every number that is known of it."""

from vialign.backbone.published import published_terms
from vialign.data.registry import source_note
from vialign.evaluation.compare import published_tag_rules, results_table
from vialign.evaluation.reproduction import check_reproduction
from vialign.features.store import MANIFEST, backbone_contract
from vialign.files.artifacts import read_provenance, read_table, write_table
from vialign.stage import Run
from vialign.tables.data import IMAGES
from vialign.tables.evaluation import OUTCOMES, REPRODUCTION


def reproduce(run: Run) -> None:
    """The frozen backbone against every number that is known of it."""
    config, settings = run.config, run.config.evaluation
    outcomes = read_table(run.input.outcomes, OUTCOMES)
    notes = [source_note(name) for name in (config.data.dataset, *config.data.benchmarks)]
    reproduction = check_reproduction(
        results_table(outcomes, settings.level, published_tag_rules()),
        config.backbone.architecture,
        config.backbone.checkpoint,
        config.data.dataset,
        settings.expected,
        split=settings.splits[0],
        contract=backbone_contract(read_provenance(f"{run.input.features}/{MANIFEST}")),
        images=read_table(run.input.images, IMAGES),
        published_counts={what: count for note in notes if note for what, count in note.expected.items()},
        published=settings.published,
        terms=published_terms(config.backbone.architecture, config.backbone.checkpoint),
    )
    print(reproduction.to_string() if len(reproduction) else "nothing is known to hold this backbone against")
    write_table(reproduction, REPRODUCTION, run.output[0], run.provenance)
