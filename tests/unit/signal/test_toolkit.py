import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from captioned import QUICK, quick_parser, tiny_backbone
from tolerance import close, transformer
from vialign.analysis.attribution.folder import attribute_signal
from vialign.analysis.attribution.names import CLAIMS, DRIVERS, FROZEN, LOCAL
from vialign.data.base import image_table
from vialign.disentangle import encode_images, encode_texts
from vialign.errors import UserError
from vialign.features import extract_images, extract_texts, read_images, read_texts
from vialign.files.artifacts import read_provenance, read_table
from vialign.gates.signal import signal_verdict
from vialign.language.units import extract_units
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import SplitFeatures, score_pairs
from vialign.tables.attribution import ATTRIBUTION, CARRIERS
from vialign.tables.signal import CONTROLS, SIGNAL_SCORES, TOOLKIT_SCORES
from vialign.toolkit import (
    diagnose_signal,
    draw_example,
    fit_signal,
    load_signal,
    read_captions,
    save_signal,
    score_signal,
)
from vialign.toolkit.fitting import texts_of

SCORES = close(torch.float32, transformer(width=32, layers=2), scale=6)
"""Two ways from pixels and words to a calibrated similarity; a map of this config is steeper than six nowhere."""
NUMBERS = [name for name in SIGNAL_SCORES.columns if name not in ("image_id", "text_id", "kind")]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_example(folder, images=72)
    return folder


@pytest.fixture(scope="module")
def captions(drawn):
    return read_captions(drawn / "images", drawn / "captions.csv")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def parser():
    return quick_parser()


@pytest.fixture(scope="module")
def signal(backbone, captions, parser):
    return fit_signal(backbone, captions, parser, config=QUICK, fit_images=30, calibration_images=15)


@pytest.fixture(scope="module")
def other(backbone, captions, parser):
    return fit_signal(backbone, captions, parser, config=QUICK.model_copy(update={"seed": 1}), fit_images=30)


@pytest.fixture(scope="module")
def scores(signal, captions, tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "scores.parquet"
    done = score_signal(signal, captions, path)
    assert (done.pairs, done.images, done.skipped_images) == (360, 72, 0)
    return read_table(path, TOOLKIT_SCORES)


def test_every_caption_is_scored_once_and_says_what_its_image_was_used_for(scores, captions, signal):
    assert scores["position"].tolist() == captions.table["position"].tolist()
    assert scores["caption_id"].tolist() == captions.table["caption_id"].tolist()
    part = dict(zip(signal.images["image_id"], signal.images["used_for"], strict=True))
    assert scores["used_for"].tolist() == [part.get(name, "none") for name in scores["image_id"]]
    assert signal.images["used_for"].value_counts().to_dict() == {"fit": 30, "calibration": 15}
    assert signal.images["image_id"].is_unique


def test_scores_are_those_of_the_pipeline(scores, signal, captions, parser, tmp_path):
    """The pipeline's own way: stores on disk in half precision, whole splits, one frame of pairs."""
    names = captions.image_ids[:30]
    images = image_table([(name, "train", name, 1, 1) for name in names])
    texts = texts_of(captions.table, names)
    settings = {"batch": 16, "shard": 64, "provenance": {}}
    folders = {"data": captions.folder}
    store = tmp_path / "i", signal.encoder.readout
    extract_images(signal.encoder.backbone, images, folders, *store, pixels="decode", **settings)
    extract_texts(signal.encoder.backbone, texts, tmp_path / "t", **settings)
    seen, said = read_images(tmp_path / "i"), read_texts(tmp_path / "t")
    units, _ = extract_units(texts, parser)
    features = SplitFeatures(
        names,
        torch.as_tensor(seen.pooled),
        encode_images(signal.encoder.visual, seen),
        said.ids,
        torch.as_tensor(said.pooled),
        encode_texts(signal.encoder.text, said, units),
    )
    pairs = texts[["image_id", "text_id"]].assign(kind="aligned")
    calibration = SignalCalibration.from_table(signal.calibration)
    expected = score_pairs(pairs, features, calibration, signal.config, seed=0)
    found = scores[scores["image_id"].isin(names)]
    assert found["text_id"].tolist() == expected["text_id"].tolist()
    np.testing.assert_allclose(found[["s_global", "s_local"]], expected[["s_global", "s_local"]], atol=2e-3)


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_a_score_does_not_depend_on_the_batch(signal, captions, scores, batch, tmp_path):
    few = captions.table.iloc[:20]
    score_signal(signal, type(captions)(captions.folder, captions.file, few), tmp_path / "s.parquet", batch)
    found = read_table(tmp_path / "s.parquet", TOOLKIT_SCORES)
    np.testing.assert_allclose(found[NUMBERS], scores[NUMBERS].iloc[:20], atol=SCORES)


def test_captions_in_any_order_stand_by_image(signal, captions, scores, tmp_path):
    mixed = captions.table.iloc[np.random.default_rng(0).permutation(60)]
    score_signal(signal, type(captions)(captions.folder, captions.file, mixed), tmp_path / "s.parquet", 5)
    found = read_table(tmp_path / "s.parquet", TOOLKIT_SCORES)
    runs = (found["image_id"] != found["image_id"].shift()).sum()
    assert runs == found["image_id"].nunique()
    expected = scores.set_index("text_id").loc[found["text_id"], NUMBERS]
    np.testing.assert_allclose(found[NUMBERS], expected, atol=SCORES)


def test_pairs_in_memory_get_the_same_scores(signal, captions, scores):
    rows = captions.table.iloc[[0, 7, 11]]
    pictures = [Image.open(captions.folder / name) for name in rows["image_id"]]
    found = signal.score(pictures, rows["text"].tolist())
    np.testing.assert_allclose(found, scores[found.columns].iloc[[0, 7, 11]], atol=SCORES)
    with pytest.raises(UserError, match="3 pictures with 1 texts"):
        signal.score(pictures, ["a red circle"])


def test_another_seed_uses_other_images_and_the_same_seed_gives_the_same(signal, other, backbone, captions, parser):
    again = fit_signal(backbone, captions, parser, config=QUICK, fit_images=30, calibration_images=15)
    pd.testing.assert_frame_equal(again.calibration, signal.calibration)
    assert again.provenance == signal.provenance
    for name, tensor in signal.encoder.text.state_dict().items():
        assert torch.equal(tensor, again.encoder.text.state_dict()[name]), name
    assert set(other.images["image_id"]) != set(signal.images["image_id"])
    assert other.provenance["fit"] != signal.provenance["fit"]


def test_a_picture_is_known_again_under_another_name(signal, captions, tmp_path):
    first = signal.images.loc[signal.images["used_for"] == "calibration", "image_id"].iloc[0]
    fresh = next(name for name in captions.image_ids if name not in set(signal.images["image_id"]))
    (tmp_path / "other").mkdir()
    shutil.copy(captions.folder / first, tmp_path / "other" / "x.png")
    shutil.copy(captions.folder / fresh, tmp_path / "other" / "y.png")
    (tmp_path / "c.csv").write_text("image,caption\nx.png,a red circle\ny.png,a red circle\n")
    score_signal(signal, read_captions(tmp_path / "other", tmp_path / "c.csv"), tmp_path / "s.parquet")
    assert read_table(tmp_path / "s.parquet", TOOLKIT_SCORES)["used_for"].tolist() == ["calibration", "none"]


def test_a_saved_signal_scores_the_same(signal, backbone, captions, scores, tmp_path):
    save_signal(signal, tmp_path / "units")
    loaded = load_signal(tmp_path / "units", backbone)
    few = type(captions)(captions.folder, captions.file, captions.table.iloc[:20])
    score_signal(loaded, few, tmp_path / "s.parquet")
    found = read_table(tmp_path / "s.parquet", TOOLKIT_SCORES)
    np.testing.assert_allclose(found[NUMBERS], scores[NUMBERS].iloc[:20], atol=SCORES)
    made = read_provenance(tmp_path / "s.parquet")
    assert made["backbone_checkpoint"] == "random:0" and made["fit"] == signal.provenance["fit"]
    assert loaded.provenance == signal.provenance
    with pytest.raises(UserError, match="exists; choose another name"):
        save_signal(signal, tmp_path / "units")


def test_units_of_another_backbone_are_refused_by_the_field_that_differs(signal, captions, tmp_path):
    save_signal(signal, tmp_path / "units")
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="made with backbone_checkpoint 'random:0', this run has 'random:5'"):
        load_signal(tmp_path / "units", tiny_backbone(tmp_path / "model", seed=5))


def test_files_of_two_fits_are_not_mixed(signal, other, backbone, tmp_path):
    save_signal(signal, tmp_path / "one")
    save_signal(other, tmp_path / "two")
    load_signal(tmp_path / "two", backbone)
    shutil.copy(tmp_path / "one" / "text.safetensors", tmp_path / "two" / "text.safetensors")
    with pytest.raises(UserError, match=r"text\.safetensors: is of another fit"):
        load_signal(tmp_path / "two", backbone)
    with pytest.raises(UserError, match="no such folder of units"):
        load_signal(tmp_path / "three", backbone)


def test_a_broken_image_is_skipped_and_counted_or_stops(signal, captions, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in captions.image_ids[:3]:
        shutil.copy(captions.folder / name, folder)
    (folder / "broken.png").write_bytes(b"\x89PNG, but not really")
    rows = [f"{name},a red circle" for name in (*captions.image_ids[:2], "broken.png", captions.image_ids[2])]
    (tmp_path / "c.csv").write_text("\n".join(["image,caption", *rows]))
    out = tmp_path / "s.parquet"
    done = score_signal(signal, read_captions(folder, tmp_path / "c.csv"), out)
    assert (done.pairs, done.images, done.skipped_images) == (3, 3, 1)
    assert "1 image files cannot be read and are skipped (broken.png)" in capsys.readouterr().err
    assert read_table(out, TOOLKIT_SCORES)["position"].tolist() == [1, 2, 4]
    before = out.read_bytes()
    with pytest.raises(UserError, match=r"broken\.png: cannot be read as an image"):
        score_signal(signal, read_captions(folder, tmp_path / "c.csv", strict=True), out)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.csv", "images", "s.parquet"]


def test_a_fit_takes_other_images_for_broken_ones_and_needs_enough(backbone, captions, parser, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    names = captions.image_ids[:40]
    for number, name in enumerate(names):
        if number % 8:
            shutil.copy(captions.folder / name, folder / name)
        else:
            (folder / name).write_bytes(b"broken")
    rows = captions.table[captions.table["image_id"].isin(names)]
    some = type(captions)(folder, captions.file, rows, tolerance=0.2)
    fitted = fit_signal(backbone, some, parser, config=QUICK)
    assert fitted.images["used_for"].value_counts().to_dict() == {"fit": 20, "calibration": 10}
    few = type(captions)(captions.folder, captions.file, captions.table.iloc[:40])
    with pytest.raises(UserError, match="8 images are left for the calibration|2 of its 8 images are left"):
        fit_signal(backbone, few, parser, config=QUICK)


def test_a_readout_that_the_tower_lacks_is_refused(backbone, captions, parser):
    config = QUICK.model_copy(update={"features": QUICK.features.model_copy(update={"readout": "nowhere"})})
    with pytest.raises(UserError, match="toolkit-tiny offers final, .*not 'nowhere'"):
        fit_signal(backbone, captions, parser, config=config)


def test_a_diagnosis_sees_only_images_that_no_fit_has_seen(signal, captions):
    diagnosis = diagnose_signal(signal, captions)
    used = set(signal.images["image_id"])
    assert not used & set(diagnosis.scores["image_id"])
    assert diagnosis.scores["image_id"].nunique() == 27
    assert {"random", "shuffle", "swap_roles"} <= set(diagnosis.table["kind"])
    aligned = diagnosis.scores[diagnosis.scores["kind"] == "aligned"]
    assert (aligned["text_id"].str.rpartition("#")[0] == aligned["image_id"]).all()
    random = diagnosis.scores[diagnosis.scores["kind"] == "random"]
    assert (random["text_id"].str.rpartition("#")[0] != random["image_id"]).all()
    few = type(captions)(captions.folder, captions.file, captions.table[captions.table["image_id"].isin(used)])
    with pytest.raises(UserError, match="0 of its images were used neither to fit nor to calibrate"):
        diagnose_signal(signal, few)


def test_a_diagnosis_runs_its_controls_whose_local_part_must_not_work(signal, captions, monkeypatch):
    seen = {}

    def kept(scores, calibration, diagnosis, probe, stress, controls, *settings):
        seen["controls"] = controls
        return signal_verdict(scores, calibration, diagnosis, probe, stress, controls, *settings)

    monkeypatch.setattr("vialign.toolkit.diagnosing.signal_verdict", kept)
    before = torch.random.get_rng_state()
    diagnosis = diagnose_signal(signal, captions)
    assert torch.equal(before, torch.random.get_rng_state())
    asked = diagnosis.verdict[diagnosis.verdict["criterion"].str.startswith("control fails")]
    assert len(asked) == len(CONTROLS) and asked["required"].all() and asked["value"].notna().all()
    own = diagnosis.scores.set_index(["image_id", "text_id", "kind"]).sort_index()
    for control in CONTROLS:
        rows = seen["controls"][seen["controls"]["control"] == control]
        rows = rows.set_index(["image_id", "text_id", "kind"]).sort_index()
        pd.testing.assert_series_equal(rows["s_global"], own["s_global"], check_names=False)
        assert (rows["s_local"] - own["s_local"]).abs().max() > 0.01
    # What another image's prototypes say has nothing of this one's captions.
    exchanged = seen["controls"][seen["controls"]["control"] == CONTROLS[0]]
    means = [frame.loc[frame["kind"] == "aligned", "s_local"].mean() for frame in (exchanged, diagnosis.scores)]
    assert means[0] < means[1]


def test_too_many_broken_images_stop_at_once_with_the_count(signal, captions, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    names = captions.image_ids[:8]
    for name in names:
        shutil.copy(captions.folder / name, folder)
    for name in names[2:6]:
        (folder / name).write_bytes(b"cut")
    (tmp_path / "c.csv").write_text("\n".join(["image,caption", *(f"{name},a red circle" for name in names)]))
    with pytest.raises(UserError, match=r"3 of 8 images cannot be read, more than --tolerance \(0.05\)"):
        score_signal(signal, read_captions(folder, tmp_path / "c.csv"), tmp_path / "s.parquet")
    assert (
        score_signal(signal, read_captions(folder, tmp_path / "c.csv", tolerance=0.5), tmp_path / "s.parquet").pairs
        == 4
    )


def test_pictures_are_seen_as_a_viewer_shows_them_and_what_that_took_is_said(signal, captions, tmp_path, capsys):
    tags = Image.Exif()
    tags[0x0112] = 6
    picture = Image.open(captions.folder / captions.image_ids[0]).convert("RGB")
    picture.save(tmp_path / "plain.png")
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=tags)
    long = "a red circle above " * 60
    (tmp_path / "c.csv").write_text(
        f"image,caption\nplain.png,a red circle\nturned.png,a red circle\nplain.png,{long}\n"
    )
    score_signal(signal, read_captions(tmp_path, tmp_path / "c.csv"), tmp_path / "s.parquet")
    found = read_table(tmp_path / "s.parquet", TOOLKIT_SCORES).set_index("text_id")
    assert found["cut"].to_dict() == {"plain.png#0": False, "plain.png#1": True, "turned.png#0": False}
    assert found.loc["plain.png#0", "s_global"] == pytest.approx(found.loc["turned.png#0", "s_global"], abs=1e-5)
    said = capsys.readouterr().err
    assert "1 images are turned upright as their orientation tag says (turned.png)" in said
    assert "1 of 3 captions are longer than the model reads" in said
    with Image.open(tmp_path / "turned.png") as turned:
        memory = signal.score([turned], ["a red circle"])
    assert memory["s_global"].item() == pytest.approx(found.loc["turned.png#0", "s_global"], abs=1e-5)


def test_every_part_is_replaced_on_a_folder_and_every_claim_is_answered(signal, captions):
    recipe = QUICK.training.model_copy(update={"early_steps": 2, "batch": 16})
    config = QUICK.model_copy(update={"training": recipe})
    found = attribute_signal(signal, captions, config=config, seeds=(0, 1), images=20)
    table = ATTRIBUTION.check(found.table)
    named = {*DRIVERS, *LOCAL, FROZEN} - {signal.config.driver, "without boxes", "ground-truth boxes"}
    assert set(table["replacement"]) == named and set(table["method"]) == {"vialign-correct"}
    assert (table["steps"] == np.where(table["replacement"] == FROZEN, 0, 2)).all() and table["seeds"].max() == 2
    assert {name.partition("/")[0] for name in table["benchmark"]} == {"unused"}
    claims = {claim.name for claim in CLAIMS if "without boxes" not in claim.without}
    assert set(CARRIERS.check(found.carriers)["claim"]) == claims
    said = str(found).splitlines()
    assert sum(line.startswith(tuple(named)) for line in said) == len(named)
    assert sum(line.startswith(("Yes: ", "Not shown: ")) for line in said) == len(claims) and not found.drives
    with pytest.raises(UserError, match="19 of its images are unused; an attribution trains on the first and measures"):
        attribute_signal(signal, captions, config=config, images=19)
