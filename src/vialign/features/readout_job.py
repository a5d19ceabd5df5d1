"""The readout of a run's patches."""

from pathlib import Path

from vialign.backbone import load_backbone
from vialign.data.folders import image_folders
from vialign.device import device_of
from vialign.features import choose_readout, contract_provenance
from vialign.files.artifacts import read_table, write_table
from vialign.stage import Run
from vialign.tables.data import IMAGES, OBJECTS
from vialign.tables.language import QUALITY


def settle_readout(run: Run) -> None:
    """What each readout tells of words on the rule's split, with the one that is chosen in the file's provenance."""
    backbone = load_backbone(run.config.backbone, run.config.seed).to(device_of(run.config))
    images = read_table(run.input.images, IMAGES)
    choice = choose_readout(
        run.config.features,
        backbone,
        images[images["split"] == run.params.split],
        read_table(run.input.objects, OBJECTS),
        image_folders(run.config.data, Path(run.input.images).parent),
        domain=run.config.name,
        seed=run.config.seed,
    )
    print(f"readout {choice.readout}: {choice.reason}")
    facts = {**contract_provenance(backbone.contract), "readout": choice.readout, "reason": choice.reason}
    write_table(choice.quality, QUALITY, run.output[0], run.provenance | facts)
