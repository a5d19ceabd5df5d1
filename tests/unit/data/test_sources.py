"""Labels of another data set: whose photographs they are, what is kept out, and that it is found where it is there."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image

from unit.data import visual_genome_folder
from unit.data.test_aro import RELATIONS
from vialign.config.data import BenchmarkConfig, DataConfig, SourceConfig
from vialign.config.experiment import load_config
from vialign.data.base import image_table
from vialign.data.checking import check_lines, check_sources
from vialign.data.folders import check_run_folders, image_folders
from vialign.data.photographs import named_by_file, numbers_in_use, shared_with
from vialign.data.prepare_job import prepare_data
from vialign.data.registry import read_dataset
from vialign.errors import UserError
from vialign.files.artifacts import read_table, write_table
from vialign.report.evidence import read_evidence
from vialign.report.sections.inputs import data as data_section
from vialign.stage import Run
from vialign.tables.data import IMAGES, OBJECTS, PROBLEMS, SHARED
from vialign.tables.data import RELATIONS as RELATION_TABLE

TRAIN, VALIDATION, TEST = range(101, 109), (201, 202), (301, 302)
SIZES = {"confirmation": 1, "calibration": 1, "diagnosis": 1, "gate": 1}
GENOME = tuple(range(1, 31))
OF_COCO = {1: 301, 2: 302, 3: 201, 4: 101, 5: 999}
"""Image of Visual Genome to its number at COCO; 999 is in no split of Karpathy's."""
UNUSED = 6
"""Photographs that the reader of a source deals to splits that nobody reads."""


def write_coco(root: Path) -> Path:
    """Twelve photographs as COCO and Karpathy publish them."""
    (root / "val2014").mkdir(parents=True)
    entries = []
    for split, numbers in {"train": TRAIN, "val": VALIDATION, "test": TEST}.items():
        for number in numbers:
            name = f"COCO_val2014_{number:012d}.jpg"
            Image.new("RGB", (20, 10)).save(root / "val2014" / name)
            said = [{"raw": f"Caption {place} of {number}."} for place in range(2)]
            entries.append({"filename": name, "cocoid": number, "split": split, "sentences": said})
    (root / "dataset_coco.json").write_text(json.dumps({"images": entries}))
    return root


def write_flickr30k(root: Path) -> Path:
    """The same of Flickr30k, whose photographs are called by their number at Flickr."""
    (root / "flickr30k-images").mkdir(parents=True)
    entries = []
    for split, numbers in {"train": TRAIN, "val": VALIDATION, "test": TEST}.items():
        for number in numbers:
            Image.new("RGB", (20, 10)).save(root / "flickr30k-images" / f"{number}.jpg")
            entries.append({"filename": f"{number}.jpg", "split": split, "sentences": [{"raw": f"A {number}."}]})
    (root / "dataset_flickr30k.json").write_text(json.dumps({"images": entries}))
    return root


def write_genome(root: Path, field: str, numbers: dict[int, object]) -> Path:
    """Thirty photographs as Visual Genome publishes them, some with a number at COCO or Flickr."""
    root.mkdir()
    visual_genome_folder.make(root, GENOME)
    files = visual_genome_folder.documents(GENOME)
    for row in files["image_data"]:
        row |= {"coco_id": None, "flickr_id": None, field: numbers.get(row["image_id"])}
    return visual_genome_folder.write(root, files)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def settings(dataset: str, folder: Path, genome: Path, **changes: object) -> DataConfig:
    source = SourceConfig(dataset="visual_genome", folder=str(genome))
    given = {"dataset": dataset, "folder": str(folder), "sizes": SIZES, "disentangle": source, "probe": source}
    return DataConfig(**{**given, **changes})


def of_source(images: pd.DataFrame) -> set[int]:
    """Numbers of Visual Genome's photographs among IMAGES."""
    names = images.loc[images["source"].isin(["disentangle", "probe"]), "image_id"]
    return {int(name.rpartition("/")[2]) for name in names}


def ever_read(config: DataConfig, output: Path) -> set[int]:
    """Numbers of the photographs of the source that some seed reads."""
    return set().union(*(of_source(read_dataset(config, seed, output).images) for seed in range(4)))


def kept_out(shared: pd.DataFrame, key: str = "disentangle") -> dict[str, int]:
    rows = shared[(shared["source"] == key) & (shared["kept_out"] > 0)]
    return dict(zip(rows["split"], rows["kept_out"], strict=True))


def test_the_data_stage_keeps_photographs_of_the_run_out_of_the_labels_and_counts_them(coco, tmp_path, capsys):
    genome = write_genome(tmp_path / "vg", "coco_id", OF_COCO)
    config = load_config({"data": settings("coco", coco, genome).model_dump(), "results": str(tmp_path / "results")})
    check_run_folders(config)
    data = tmp_path / "results/data"
    output = SimpleNamespace(drawn=data / "images", published=data / "published", images=data / "images.parquet")
    prepare_data(Run(None, output, None, None, 1, config, {"rule": "prepare_data"}))

    images = read_table(data / "images.parquet", IMAGES)
    assert of_source(images) <= set(GENOME) - {1, 2, 3, 4}
    assert len(of_source(images)) == len(GENOME) - 4 - UNUSED
    # Test, and whichever of its splits the two others were dealt to.
    split_of = images.set_index("image_id")["split"]
    shared = read_table(data / "shared.parquet", SHARED)
    expected = pd.Series([split_of[f"COCO_val2014_{number:012d}.jpg"] for number in (301, 302, 201, 101)])
    assert kept_out(shared) == kept_out(shared, "probe") == expected.value_counts().to_dict()
    assert (shared["named"] == shared["photographs"]).all()
    sentence = "4 of 30 photographs of visual_genome are read elsewhere in this run"
    assert read_table(data / "problems.parquet", PROBLEMS)["problem"].str.contains(sentence).sum() == 1
    assert sentence in capsys.readouterr().err

    # Every split has labels of its own photographs, and its files are found.
    objects, relations = (read_table(data / f"{t.name}.parquet", t) for t in (OBJECTS, RELATION_TABLE))
    labelled = split_of[split_of.isin(["disentangle", "disentangle_selection", "probe"])]
    assert labelled.nunique() == 3
    assert objects["image_id"].value_counts().to_dict() == dict.fromkeys(labelled.index, 3)
    assert relations["image_id"].value_counts().to_dict() == dict.fromkeys(labelled.index, 2)
    folders = image_folders(config.data, data)
    assert all((folders[row.source] / row.path).is_file() for row in images.itertuples())


def test_what_has_no_number_of_the_run_is_not_kept_out(coco, tmp_path):
    genome = write_genome(tmp_path / "vg", "coco_id", {})
    assert ever_read(settings("coco", coco, genome), tmp_path) == set(GENOME)
    assert kept_out(read_dataset(settings("coco", coco, genome), 0, tmp_path).shared) == {}


def test_a_number_that_is_in_no_split_keeps_nothing_out(coco, tmp_path):
    genome = write_genome(tmp_path / "vg", "coco_id", OF_COCO)
    assert ever_read(settings("coco", coco, genome), tmp_path) == set(GENOME) - {1, 2, 3, 4}


def test_flickr30k_is_told_by_the_number_at_flickr(tmp_path):
    flickr = write_flickr30k(tmp_path / "flickr30k")
    genome = write_genome(tmp_path / "vg", "flickr_id", {1: 301, 2: "302", 3: "none", 4: 77})
    config = settings("flickr30k", flickr, genome)
    assert ever_read(config, tmp_path) == set(GENOME) - {1, 2}
    assert kept_out(read_dataset(config, 0, tmp_path).shared) == {"test": 2}


def test_photographs_of_a_benchmark_are_kept_out_by_their_own_number(coco, tmp_path):
    (tmp_path / "aro/images").mkdir(parents=True)
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (100, 80)).save(tmp_path / "aro/images" / name)
    for name in ("relation", "attribution"):
        items = RELATIONS if name == "relation" else []
        (tmp_path / f"aro/visual_genome_{name}.json").write_text(json.dumps(items))
    genome = write_genome(tmp_path / "vg", "coco_id", {})
    benchmarks = {"aro": BenchmarkConfig(folder=str(tmp_path / "aro"))}
    config = settings("coco", coco, genome, benchmarks=benchmarks)
    assert ever_read(config, tmp_path) == set(GENOME) - {1, 2}
    assert kept_out(read_dataset(config, 0, tmp_path).shared) == {"aro": 2}


def test_two_sources_never_read_the_same_photograph(coco, tmp_path):
    genome = write_genome(tmp_path / "vg", "coco_id", {})
    again = write_genome(tmp_path / "again", "coco_id", {})
    probe = SourceConfig(dataset="visual_genome", folder=str(again))
    sizes = {**SIZES, "disentangle": 10, "disentangle_selection": 4, "probe": 5}
    tables = read_dataset(settings("coco", coco, genome, probe=probe, sizes=sizes), 0, tmp_path / "data")
    of = {key: set(rows["image_id"].str.rpartition("/")[2]) for key, rows in tables.images.groupby("source")}
    assert len(of["disentangle"]) == 14 and len(of["probe"]) == 5
    assert of["disentangle"].isdisjoint(of["probe"])
    assert kept_out(tables.shared, "probe") == {"disentangle": 10, "disentangle_selection": 4}


def test_the_seed_and_the_sizes_decide_the_splits(coco, tmp_path):
    genome = write_genome(tmp_path / "vg", "coco_id", OF_COCO)

    def split_of(seed: int, **sizes: int) -> dict[str, str]:
        config = settings("coco", coco, genome, sizes={**SIZES, **sizes})
        images = read_dataset(config, seed, tmp_path / "data").images
        return dict(zip(images["image_id"], images["split"], strict=True))

    assert split_of(1) == split_of(1) != split_of(2)
    counts = pd.Series(split_of(1, disentangle=7, disentangle_selection=3, probe=2)).value_counts()
    assert (counts["disentangle"], counts["disentangle_selection"], counts["probe"]) == (7, 3, 2)


def test_a_source_that_is_the_data_set_itself_has_nothing_left(tmp_path):
    genome = write_genome(tmp_path / "vg", "coco_id", {})
    sizes = {**SIZES, "selection": 1, "test": 2}
    with pytest.raises(UserError, match="30 of 30 photographs .* and 0 are too few to deal; name another source"):
        read_dataset(settings("visual_genome", genome, genome, sizes=sizes), 0, tmp_path / "data")


def test_only_data_sets_with_such_labels_can_be_named():
    def named(key: str, dataset: str) -> dict[str, object]:
        return {"data": {key: {"dataset": dataset, "folder": "x"}}}

    assert load_config(named("disentangle", "coco")).data.disentangle is not None
    with pytest.raises(UserError, match=r"`data.probe.dataset`: 'coco' is unknown"):
        load_config(named("probe", "coco"))
    with pytest.raises(UserError, match=r"`data.disentangle.dataset`: 'flickr30k' is unknown"):
        load_config(named("disentangle", "flickr30k"))


@pytest.mark.parametrize(
    ("path", "source", "numbers"),
    [
        ("val2014/COCO_val2014_000000391895.jpg", "coco", {"coco:391895"}),
        ("val2017/000000391895.jpg", "sugarcrepe", {"coco:391895"}),
        ("VG_100K/2347067.jpg", "vl_checklist", {"visual_genome:2347067"}),
        ("v7w_2347067.jpg", "valse", {"visual_genome:2347067"}),
        ("flickr30k-images/2347067.jpg", "flickr30k", {"flickr:2347067"}),
        ("images/1000268201_693b08cb0e.jpg", "flickr8k", {"flickr:1000268201"}),
        ("images/2347067.jpg", "captioned", set()),
        ("ex_12_img_0.png", "winoground", set()),
    ],
)
def test_a_file_tells_whose_number_it_holds(path, source, numbers):
    assert named_by_file(path, source) == numbers


def test_what_is_shared_is_what_a_loop_over_all_pairs_finds():
    rows = [(f"{n}", "test" if n % 2 else "train", f"{n}.jpg", 1, 1) for n in range(20)]
    used = numbers_in_use(image_table(rows), "flickr30k", {})
    there = {f"g{n}": frozenset({f"flickr:{n}", f"coco:{n}"}) for n in range(0, 60, 3)}
    found = shared_with(there, used)
    for split in ("test", "train"):
        own = [numbers for of, numbers in zip(used["split"], used["numbers"], strict=True) if of == split]
        assert found[split] == {name for name, numbers in there.items() if any(numbers & other for other in own)}
    assert found["test"] and found["train"]


def lines_of(config: dict[str, object]) -> str:
    return "\n".join(line for report in check_sources(load_config(config)) for line in check_lines(report))


def test_the_check_reads_sources_as_a_run_does_and_says_where_the_probe_has_nothing_to_read(coco, tmp_path):
    genome = write_genome(tmp_path / "vg", "coco_id", OF_COCO)
    data = settings("coco", coco, genome).model_dump()
    with_both = lines_of({"data": data, "signal": {"folds": 2}})
    assert "visual_genome for data.disentangle and data.probe: Visual Genome" in with_both
    assert "4 of 30 photographs of visual_genome are read elsewhere in this run" in with_both
    assert "no probe" not in with_both
    # Two predicates are there, in too few images for so many folds.
    assert "no probe: 0 predicates are said of 20 images or more of split probe" in lines_of(
        {"data": data, "signal": {"folds": 20}}
    )
    alone = lines_of({"data": {**data, "probe": None}})
    assert "no probe: 0 predicates are said of 5 images or more of split diagnosis" in alone
    assert "claim is not shown; data.probe can name" in alone


def test_a_source_that_is_not_there_is_missing_and_says_how_to_get_it(coco, tmp_path):
    told = lines_of({"data": settings("coco", coco, tmp_path / "gone").model_dump()})
    assert "MISSING  visual_genome:" in told and "set data.disentangle.folder to its folder" in told


def test_the_report_shows_what_was_kept_out_and_nothing_without_a_source(tmp_path):
    config = load_config({"results": str(tmp_path)})
    images = image_table([("a", "test", "a.png", 1, 1)])
    write_table(images, IMAGES, tmp_path / "data/images.parquet", {})
    write_table(SHARED.empty(), SHARED, tmp_path / "data/shared.parquet", {})
    shown = "".join(data_section(read_evidence(tmp_path, config), config).blocks)
    assert "Photographs that this run reads elsewhere" not in shown
    row = pd.DataFrame([("disentangle", "test", 5000, 4999, 2214)], columns=list(SHARED.columns))
    write_table(row, SHARED, tmp_path / "data/shared.parquet", {})
    shown = "".join(data_section(read_evidence(tmp_path, config), config).blocks)
    assert "Photographs that this run reads elsewhere" in shown and "2,214" in shown and "4,999" in shown
