import pytest

from vialign.config.data import DataConfig
from vialign.data.registry import read_dataset
from vialign.errors import UserError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def config(real_folder) -> DataConfig:
    if not (real_folder / "flickr8k").is_dir():
        pytest.skip(f"no flickr8k folder in {real_folder}")
    return DataConfig(
        dataset="flickr8k",
        folder=str(real_folder / "flickr8k"),
        tune_list=str(real_folder / "base" / "tune_train.txt"),
    )


def test_the_published_counts_are_found_and_no_image_the_base_saw_is_used(config, real_folder, tmp_path):
    tables = read_dataset(config, 0, tmp_path)
    counts = tables.images["split"].value_counts().to_dict()
    assert counts == {
        "train": 1700,
        "confirmation": 500,
        "calibration": 300,
        "diagnosis": 500,
        "selection": 600,
        "gate": 400,
        "test": 1000,
    }
    assert (tables.captions.groupby("image_id").size() == 5).all()
    assert len(tables.captions) == 25000
    assert len(tables.ratings) == 47830
    assert set(tables.images["width"]) == set(tables.images["height"]) == {224}
    seen_by_base = set((real_folder / "base" / "base_train.txt").read_text().split())
    assert len(seen_by_base) == 3000
    assert not seen_by_base & set(tables.images["image_id"])


def test_the_real_dirt_is_counted_and_stops_a_strict_run(config, tmp_path):
    problems = read_dataset(config, 0, tmp_path).problems
    assert len(problems) == 460
    assert problems["problem"].str.contains("2258277193_586949ec62.jpg.1").sum() == 5
    with pytest.raises(UserError, match=r"Flickr8k\.token\.txt, line 716: names image .*, which is not in images"):
        read_dataset(config.model_copy(update={"strict": True}), 0, tmp_path)
