"""Which splits the rules read where the config names sources of labels, and where it does not."""

from pathlib import Path

import pytest
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, ResourceSettings

SOURCED = """
data:
  disentangle: {dataset: visual_genome, folder: vg}
  probe: {dataset: visual_genome, folder: vg}
"""


def split_of(path: object) -> str:
    """The split in `results/features/{split}/images`."""
    return Path(str(path)).parts[-2]


@pytest.mark.parametrize(
    ("layer", "fitted", "measured", "probed"),
    [("", "train", "selection", "diagnosis"), (SOURCED, "disentangle", "disentangle_selection", "probe")],
)
def test_labels_are_read_of_the_splits_of_their_source(repository, tmp_path, layer, fitted, measured, probed):
    more = tmp_path / "layer.yaml"
    more.write_text(layer or "{}\n")
    with SnakemakeApi() as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[repository / "configs/tiny.yaml", more]),
            snakefile=repository / "Snakefile",
            workdir=tmp_path,
        )
        rules = {rule.name: rule for rule in workflow._workflow.rules}
    fit, ablate = rules["fit_visual"].input, rules["ablate_losses"].input
    assert (split_of(fit.train), split_of(fit.selection)) == (fitted, measured)
    assert (split_of(ablate.fitted), split_of(ablate.measured)) == (fitted, measured)
    assert rules["readout"].params.split == measured
    assert split_of(rules["probe"].input.image_features) == probed
    # Captions stay those of the data set, and nothing else reads a source.
    for name in ("fit_text", "ablate_losses"):
        assert split_of(rules[name].input.train_images) == "train"
    reading = {
        name
        for name, rule in rules.items()
        for path in rule.input
        if any(f"/{split}/" in str(path) for split in ("disentangle_selection", "probe", "features/disentangle"))
    }
    assert reading == ({"fit_visual", "ablate_losses", "probe", "features"} if layer else set())
