"""The published annotation files of the benchmarks, as far as they are here; their images are not."""

from collections import Counter
from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from vialign.config.data import BenchmarkConfig
from vialign.data.base import Problems
from vialign.data.benchmarks import bivlc, cola, sugarcrepe, sugarcrepe_pp, valse, vl_checklist, vsr, winoground
from vialign.data.benchmarks.aro_order import build_order_file, order_choices, read_order_file
from vialign.errors import UserError
from vialign.evaluation.forms import winoground_decisions

pytestmark = pytest.mark.real


def present(folder):
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} in {folder.parent}")
    return folder


def counts(items) -> dict[str, int]:
    return {f"{name} items": count for name, count in Counter(items["benchmark"]).items()}


def test_sugarcrepe_has_its_published_counts(real_folder):
    problems = Problems("sugarcrepe", strict=True)
    items = sugarcrepe.read_items(present(real_folder / "sugarcrepe"), problems)
    assert counts(items) == sugarcrepe.NOTE.expected
    assert len(items) == items["item_id"].nunique() == 7511
    (version,) = problems.frame()["problem"]
    assert version.startswith("has 245 items: the version of the authors' repository")
    assert all(len(texts) == 2 and texts[0] != texts[1] for texts in items["texts"])


def test_vl_checklist_has_its_published_counts_and_its_ties(real_folder):
    problems = Problems("vl_checklist", strict=True)
    items = vl_checklist.read_items(present(real_folder / "vl_checklist"), problems)
    assert counts(items) == vl_checklist.NOTE.expected
    assert items["item_id"].is_unique
    assert problems.frame().empty
    images = items["images"].str[0]
    assert images.groupby(items["benchmark"]).nunique().to_dict() == {
        "vl_checklist_color": 5303,
        "vl_checklist_spatial": 8686,
    }
    tied = items[[texts[0] == texts[1] for texts in items["texts"]]]
    assert counts(tied) == {"vl_checklist_color items": 66}


def test_sugarcrepe_pp_has_its_published_counts_and_two_right_captions(real_folder):
    problems = Problems("sugarcrepe_pp", strict=True)
    items = sugarcrepe_pp.read_items(present(real_folder / "sugarcrepe_pp"), problems)
    assert counts(items) == sugarcrepe_pp.NOTE.expected
    assert len(items) == items["item_id"].nunique() == 4757
    assert set(items["right"]) == {2} and set(items["texts"].str.len()) == {3}
    assert problems.frame().empty
    # Two rows and one say the same thing twice.
    repeated = items[[len(set(texts)) < 3 for texts in items["texts"]]]
    assert counts(repeated) == {"sugarcrepe_pp_swap_obj items": 2, "sugarcrepe_pp_replace_att items": 1}


def test_valse_keeps_the_valid_items_by_the_published_votes(real_folder):
    problems = Problems("valse", strict=True)
    items = valse.read_items(present(real_folder / "valse"), problems)
    assert counts(items) == valse.NOTE.expected
    assert len(items) == items["item_id"].nunique() == 7702
    told = problems.frame()["problem"].str.extract(r"^(\d+) of (\d+) items left out, as published").astype(int)
    assert told[1].sum() == 8782 and told[0].sum() == 8782 - 7702
    assert set(items["tag"]) == {
        "existence", "plurals", "counting", "relations", "actions", "coreference", "noun phrases"
    }  # fmt: skip


def test_cola_has_its_published_counts(real_folder):
    problems = Problems("cola", strict=True)
    items = cola.read_items(present(real_folder / "cola"), problems)
    assert counts(items) | {"images": items["images"].explode().nunique()} == cola.NOTE.expected
    assert problems.frame().empty and items["item_id"].is_unique


def test_vsr_reads_the_whole_corpus_with_a_part_for_the_threshold(real_folder):
    problems = Problems("vsr", strict=True)
    items = vsr.read_items(present(real_folder / "vsr"), problems)
    assert len(items) == items["item_id"].nunique() == 10972
    assert items["right"].value_counts().to_dict() == {1: 5621, 0: 5351}
    assert items["tag"].nunique() == 66
    parts = items.groupby("benchmark")["images"].agg(lambda images: set(images.explode()))
    assert 0.08 < len(parts["vsr_all_dev"]) / 6259 < 0.12
    assert parts["vsr_all_dev"].isdisjoint(parts["vsr_all"])
    assert "has no splits" in problems.frame()["problem"].item()


@pytest.mark.parametrize(("model", "group"), [("ViT-B-32", 49.06), ("CLIP_COCO", 60.96)])
def test_bivlc_has_its_published_counts_and_its_scores_are_the_authors(real_folder, tmp_path, model, group):
    """The authors say of every item which of its four queries were won; scores with that order give their scores."""
    source = present(real_folder / "bivlc") / f"BiVLC_{model}.csv"
    (tmp_path / "bivlc.csv").symlink_to(source)
    problems = Problems("bivlc", strict=True)
    items = bivlc.read_items(tmp_path, problems)
    assert counts(items) == bivlc.NOTE.expected and problems.frame().empty
    assert items["tag"].value_counts()["replace_obj"] == 1200 and items["tag"].nunique() == 7
    published = pd.read_csv(source)
    won = published[["text_score_i0", "text_score_i1", "image_score_c0", "image_score_c1"]].to_numpy(bool)
    order = {}
    for a, b, c, d in permutations(range(4)):  # scores of (image 0, text 0), (0, 1), (1, 0), (1, 1)
        order[a > b, d > c, a > c, d > b] = [[a, b], [c, d]]
    decisions = winoground_decisions(np.array([order[tuple(row)] for row in won.tolist()], dtype=float))
    for measure, column in (("text", "text_score"), ("image", "image_score"), ("group", "group_score")):
        assert (decisions[measure] == published[column].to_numpy(bool)).all()
    assert decisions["group"].mean() * 100 == pytest.approx(group, abs=0.005)


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("sugarcrepe", sugarcrepe),
        ("vl_checklist", vl_checklist),
        ("sugarcrepe_pp", sugarcrepe_pp),
        ("valse", valse),
        ("cola", cola),
        ("vsr", vsr),
    ],
)
def test_without_images_one_line_says_how_to_get_them(real_folder, name, reader):
    folder = present(real_folder / name)
    with pytest.raises(UserError, match=f"has no folder .*; the images (are|come) .*set data.benchmarks.{name}.images"):
        reader.read(BenchmarkConfig(folder=str(folder)), 0)


def test_winoground_captions_and_tags_go_through_the_published_form(real_folder, tmp_path):
    meta = pd.read_csv(present(real_folder / "winoground_embeddings") / "winoground_meta.csv")
    choices = [
        {
            "item_id": f"winoground/winoground/{row.id}",
            "images": [winoground.image_name(row.id, place) for place in (0, 1)],
            "texts": [row.caption_0, row.caption_1],
            "tag": row.collapsed_tag,
        }
        for row in meta.itertuples(index=False)
    ]
    files = {name: f"{name}.png" for choice in choices for name in choice["images"]}
    winoground.write_published(choices, files, tmp_path)
    items = winoground.read_items(tmp_path, Problems("winoground", strict=True))
    assert counts(items) | {"images": len(files)} == winoground.NOTE.expected
    assert items["texts"].tolist() == [[text.strip() for text in choice["texts"]] for choice in choices]
    assert Counter(items["tag"]) == Counter(meta["collapsed_tag"])


def test_order_perturbations_of_real_captions_keep_their_words(real_folder, tmp_path):
    folder = present(real_folder / "flickr8k")
    test = set((folder / "Flickr_8k.testImages.txt").read_text().split())
    lines = (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    rows = [(name, name.split("#")[0], text) for name, text in (line.split("\t", 1) for line in lines)]
    captions = pd.DataFrame(rows, columns=["caption_id", "image_id", "text"])
    captions = captions[captions["image_id"].isin(test)]

    def every_other_word_a_noun(texts):
        return [[(word, "NN" if place % 2 else "DT") for place, word in enumerate(text.split())] for text in texts]

    build_order_file(captions, tmp_path / "order.jsonl", 0, "aro_flickr_order", every_other_word_a_noun)
    order = read_order_file(tmp_path / "order.jsonl")
    assert len(order.rows) + order.left_out["captions"] == len(captions) == 5000
    assert order.left_out["captions"] < 10
    choices = order_choices(order, "test")
    assert set(choices["texts"].str.len()) <= {2, 3, 4, 5}
    assert (choices["texts"].str.len() == 5).mean() > 0.95
    for texts in choices["texts"]:
        assert len({tuple(sorted(text.split())) for text in texts}) == 1
        assert len(set(texts)) == len(texts)
