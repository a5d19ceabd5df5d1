import pytest

from benchmark_layouts import write_layouts
from captioned import tiny_model
from explained import finished_run
from vialign.aligner.export import aligner_of_run, write_export


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with the trained method and the plain model, benchmarks, and where the images of some of them lie."""
    folder = tmp_path_factory.mktemp("evaluate")
    data, images = write_layouts(folder)
    run = finished_run()[0]
    write_export(aligner_of_run(run.config, "vialign"), folder / "tuned", with_backbone=False, folded=False)
    tiny_model(folder, "explain-tiny")
    return folder, data, images
