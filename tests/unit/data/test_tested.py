"""Photographs that a benchmark tests on leave the splits that are learned from, with all that is said of them."""

from pathlib import Path

import pandas as pd

from unit.data.test_sources import TRAIN, write_coco
from vialign.config.data import DataConfig
from vialign.data.base import CAPTIONS, DatasetTables, image_table
from vialign.data.registry import read_own
from vialign.data.tested import without_tested

SIZES = {"confirmation": 1, "calibration": 1, "diagnosis": 1, "gate": 1}


def benchmark(name: str, *files: str) -> DatasetTables:
    rows = [(f"{name}/{file}", name, file, 20, 10) for file in files]
    return DatasetTables(image_table(rows).assign(source=name), CAPTIONS.empty(), Path())


def own_tables(tmp_path: Path) -> DatasetTables:
    return read_own(DataConfig(dataset="coco", folder=str(write_coco(tmp_path / "coco")), sizes=SIZES), 0, tmp_path)


def numbers_of(images: pd.DataFrame) -> set[int]:
    return {int(Path(path).stem.rpartition("_")[2]) for path in images["path"]}


def test_what_a_benchmark_tests_on_is_not_learned_from(tmp_path, capsys):
    """101 by its name of 2014, 102 by that of 2017; 301 is of the test split, which is read for tests alone."""
    own = own_tables(tmp_path)
    vqa = benchmark("vqa", "COCO_val2014_000000000101.jpg", "COCO_val2014_000000000301.jpg")
    sugarcrepe = benchmark("sugarcrepe", "000000000102.jpg", "another.jpg")
    found = without_tested(own, [vqa, sugarcrepe], "coco", {})
    assert numbers_of(own.images) - numbers_of(found.images) == {101, 102} < set(TRAIN)
    assert set(found.captions["image_id"]) == set(found.images["image_id"])
    assert len(own.captions) - len(found.captions) == 4
    counted = found.shared.set_index("split")[["photographs", "named", "kept_out"]]
    assert counted.loc["vqa"].tolist() == [2, 2, 1] and counted.loc["sugarcrepe"].tolist() == [2, 1, 1]
    said = capsys.readouterr().err
    assert "2 of 10 images are photographs of a benchmark (vqa 1, sugarcrepe 1)" in said


def test_a_benchmark_of_other_photographs_leaves_everything(tmp_path, capsys):
    own = own_tables(tmp_path)
    capsys.readouterr()
    found = without_tested(own, [benchmark("vqa", "COCO_val2014_000000000999.jpg")], "coco", {})
    assert found.images.equals(own.images) and found.captions.equals(own.captions)
    assert found.shared["kept_out"].tolist() == [0] and capsys.readouterr().err == ""
    assert without_tested(own, [], "coco", {}) is own
