import io
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from planted import Vocabulary, planted_world
from vialign.config.experiment import Config
from vialign.disentangle.boxes import told_boxes
from vialign.errors import UserError
from vialign.files.artifacts import read_table, write_table
from vialign.methods.baselines.labclip import LinearAlignment
from vialign.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vialign.tables.data import IMAGES, OBJECTS
from vialign.tables.training import AVERAGES
from vialign.training.job import SPLIT_PARTS, TrainingJob, average_job, read_job_split, run_job


def test_a_failure_in_one_of_several_processes_is_told_in_the_log_and_named(tmp_path, monkeypatch):
    """The log is a stage's: an object with `write` alone, which no process can be given as a file."""
    config = Config.model_validate({"training": {"processes": 2}})
    job = TrainingJob(
        config=config,
        method="frozen",
        seed=0,
        until="early",
        inputs={"train_image_features": str(tmp_path / "missing")},
        outputs={"checkpoint": str(tmp_path / "early.safetensors")},
        provenance={"config_digest": "0"},
        threads=2,
    )
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with pytest.raises(UserError, match="training frozen, seed 0: one of 2 processes failed"):
        run_job(job)
    assert f"{tmp_path}/missing" in log.getvalue()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("method", "weight", "kept"),
    [
        ("frozen", 0.0, []),
        ("frozen", 0.5, ["train", "selection"]),
        ("negclip", 0.0, ["train"]),
        ("negclip", 0.5, ["train", "selection"]),
    ],
)
def test_negatives_are_left_out_of_the_splits_where_they_have_no_weight(tmp_path, monkeypatch, method, weight, kept):
    """What they define is trained with them in any case, and chosen by them no more than the others are."""
    data = planted_world(Vocabulary(8), 6, 0)
    monkeypatch.setattr("vialign.methods.inputs.read_split", lambda *parts, **options: data)
    write_table(IMAGES.empty(), IMAGES, tmp_path / "images.parquet", {})
    job = TrainingJob(
        config=Config.model_validate({"training": {"negatives": weight}}),
        method=method,
        seed=0,
        until="early",
        inputs={
            "images": str(tmp_path / "images.parquet"),
            **{f"{split}_{part}": part for split in ("train", "selection") for part in SPLIT_PARTS},
        },
        outputs={},
        provenance={},
    )
    assert data.negatives.shape[1] > 0
    for split in ("train", "selection"):
        found = read_job_split(job, split, frozenset(), None)
        assert found.image_pooled is data.image_pooled
        assert found.negatives.shape == (len(data.texts), data.negatives.shape[1] if split in kept else 0)


def boxed_job(monkeypatch, kept, **visual):
    """A job of `lora-boxes` on six training images, 0 to 5; the test split has one more, and every image one box."""
    monkeypatch.setattr("vialign.methods.inputs.read_split", lambda *p, **o: planted_world(Vocabulary(8), 6, 0))
    names = [f"i{place}" for place in range(6)] + ["tested"]
    images = pd.DataFrame({"image_id": names, "split": ["train"] * 6 + ["test"], "path": names, "source": "data"})
    images = images.assign(width=10, height=10, crop=[[] for _ in names])
    box = {"x": 0.0, "y": 0.0, "width": 5.0, "height": 10.0}
    objects = [{"object_id": f"{name}/0", "image_id": name, "name": f"thing{name}", **box} for name in kept]
    objects = pd.DataFrame(objects, columns=list(OBJECTS.columns)).assign(attributes=[[] for _ in kept])
    frames = {"images": IMAGES.check(images), "objects": OBJECTS.check(objects)}
    monkeypatch.setattr("vialign.training.job.read_table", lambda path, table: frames[path])
    parts = {f"{split}_{part}": part for split in ("train", "selection") for part in SPLIT_PARTS}
    config = Config.model_validate({"visual": {"images": 3, **visual}})
    return TrainingJob(
        config=config,
        method="lora-boxes",
        seed=0,
        until="early",
        inputs={**parts, "images": "images", "objects": "objects"},
        outputs={},
        provenance={},
    )


TOWERS = SimpleNamespace(grid=(1, 2), resize_mode="shortest")
"""What is asked of a backbone when boxes are read: an image is two patches, side by side."""


def test_boxes_are_those_of_the_images_of_the_dictionary_and_of_the_training_split_alone(monkeypatch):
    job = boxed_job(monkeypatch, ["i1", "i2", "i4", "tested"])
    found = read_job_split(job, "train", frozenset(), TOWERS).boxes
    # Of the first three images; the fifth has a box too, and so has one of the test split.
    assert found.labels == ["thingi1", "thingi2"] and found.label[:, 0].tolist() == [-1, 0, 1, -1, -1, -1]
    assert found.coverage[1, 0].tolist() == [1.0, 0.0]
    assert read_job_split(job, "selection", frozenset(), TOWERS).boxes is None


def test_boxes_are_of_as_many_images_as_the_dictionary_is_told(monkeypatch):
    kept = ["i0", "i1", "i2"]
    job = boxed_job(monkeypatch, kept, labelled=1)
    found = read_job_split(job, "train", frozenset(), TOWERS).boxes
    (drawn,) = told_boxes(pd.DataFrame({"image_id": kept}), 1, job.config.seed)["image_id"]
    assert found.labels == [f"thing{drawn}"] and int((found.label >= 0).sum()) == 1


def test_without_a_labelled_box_in_the_training_split_it_is_said_what_to_do(monkeypatch):
    job = boxed_job(monkeypatch, ["tested"])
    with pytest.raises(
        UserError, match="no labelled box of a training image; leave lora-boxes out of training.methods"
    ):
        read_job_split(job, "train", frozenset(), TOWERS)


def test_an_average_is_chosen_on_selection_and_kept_as_the_best_weights(tmp_path, monkeypatch):
    """The tuned map turns every caption away from its image, so the frozen weights are best, and the halves between."""
    data = planted_world(Vocabulary(8), 6, 0)
    monkeypatch.setattr("vialign.training.job.read_job_split", lambda *given: data)
    monkeypatch.setattr("vialign.methods.build.open_backbone", lambda *given: None)
    built = LinearAlignment(data.image_pooled.shape[1], 20.0, 1.0)
    monkeypatch.setattr("vialign.methods.build.build_method", lambda *given: built)
    monkeypatch.setattr("vialign.signal.calibration.read_calibration", lambda path: None)
    tuned = {"map": -torch.eye(data.image_pooled.shape[1])}
    save_checkpoint(Checkpoint(9, tuned, tuned, 0.5, 4, {}), tmp_path / "tuned.safetensors", {})
    job = TrainingJob(
        config=Config(),
        method="labclip-wise",
        seed=0,
        until="final",
        inputs={"trained": str(tmp_path / "tuned.safetensors"), "calibration": "", "selection_image_features": ""},
        outputs={"checkpoint": str(tmp_path / "final.safetensors"), "averages": str(tmp_path / "averages.parquet")},
        provenance={},
    )
    average_job(job)
    table = read_table(tmp_path / "averages.parquet", AVERAGES).set_index("share")
    assert table.index.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert table["score"][0.0] > table["score"][1.0] and table["chosen"].sum() == 1 and table["chosen"][0.0]
    kept = load_checkpoint(tmp_path / "final.safetensors")
    assert (kept.step, kept.best_step, kept.best_score) == (9, 4, table["score"][0.0])
    torch.testing.assert_close(kept.best["map"], torch.eye(len(tuned["map"])))
