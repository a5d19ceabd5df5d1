"""The published annotation files of the benchmarks, as far as they are here; their images are not."""

from collections import Counter

import pandas as pd
import pytest

from vialign.config.data import BenchmarkConfig
from vialign.data.base import Problems
from vialign.data.benchmarks import sugarcrepe, vl_checklist, winoground
from vialign.data.benchmarks.aro_order import build_order_file, order_choices, read_order_file
from vialign.errors import UserError

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
    assert problems.frame().empty
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


@pytest.mark.parametrize(("name", "reader"), [("sugarcrepe", sugarcrepe), ("vl_checklist", vl_checklist)])
def test_without_images_one_line_says_how_to_get_them(real_folder, name, reader):
    folder = present(real_folder / name)
    with pytest.raises(UserError, match=f"has no folder .*; the images are .*set data.benchmarks.{name}.images"):
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
