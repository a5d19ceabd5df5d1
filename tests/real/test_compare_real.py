"""`vialign compare` on the published outcomes by item of two models (BiVLC's repository)."""

import pytest

from vialign.evaluation.paired_files import Columns, read_paired
from vialign.evaluation.paired_items import compare_paired

pytestmark = pytest.mark.real

PAIRS = ("filename", "caption", "negative_caption")
SUBTYPES = {
    **{"add, att": 68.79, "add, obj": 77.21, "replace, att": 80.08, "replace, obj": 90.92},
    **{"replace, rel": 69.20, "swap, att": 63.96, "swap, obj": 61.38},
}
"""ViT-B-32 of OpenAI."""


@pytest.fixture(scope="module")
def folder(real_folder):
    found = real_folder / "bivlc"
    if not found.is_dir():
        pytest.skip(f"no bivlc in {real_folder}")
    return found


def files(folder, start):
    return [folder / f"{start}_{model}.csv" for model in ("ViT-B-32", "CLIP_COCO")]


def test_sugarcrepe_gains_969_items_and_loses_360(folder):
    paired = read_paired(files(folder, "SUGARCREPE_CORRECT"), Columns(by=("type", "subtype")))
    assert paired.notes == () and tuple(paired.items) == (*PAIRS, "type", "subtype")
    means, found = compare_paired(paired)
    whole = found.iloc[0]
    assert (whole["group"], whole["items"], whole["gained"], whole["lost"]) == ("all", 7512, 969, 360)
    own = means[means["model"] == "SUGARCREPE_CORRECT_ViT-B-32"].set_index("group")["value"].drop("all")
    assert (100 * own).round(2).to_dict() == SUBTYPES


def test_without_type_and_subtype_six_pairs_come_twice(folder):
    paired = read_paired(files(folder, "SUGARCREPE_CORRECT"), Columns(item=PAIRS))
    (note,) = paired.notes
    assert note.startswith("6 items come twice by filename, caption, negative_caption (told apart by type, subtype")
    assert compare_paired(paired)[1].iloc[0]["gained"] == 969


def test_bivlc_has_its_published_group_scores(folder):
    paired = read_paired(files(folder, "BiVLC"), Columns())
    means, _ = compare_paired(paired)
    group = means[means["measure"] == "group_score"].set_index("model")["value"]
    assert (100 * group).round(2).to_dict() == {"BiVLC_ViT-B-32": 49.06, "BiVLC_CLIP_COCO": 60.96}
    assert set(means["items"]) == {2933} and any("1 item comes twice" in note for note in paired.notes)
