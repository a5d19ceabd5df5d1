import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.data.base import Problems
from vialign.data.datasets.karpathy import listed_and_captions, read_karpathy
from vialign.errors import UserError

JUNK = st.sampled_from(
    [
        None,
        True,
        -1,
        1e400,
        float("nan"),
        "",
        " ",
        "x" * 10_000,
        "<b>x</b>",
        "../../x.jpg",
        "/x.jpg",
        [],
        [1],
        {},
        "\ud800",
    ]
)


def published() -> dict:
    """Six images in the published layout, one with seven captions and one without any."""
    splits = ["train", "restval", "val", "test", "train", "test"]
    images = [
        {
            "filepath": "val2014",
            "sentids": [10 * number + place for place in range(count)],
            "filename": f"COCO_val2014_{number:012d}.jpg",
            "imgid": number,
            "split": split,
            "sentences": [
                {
                    "tokens": ["dog", str(place)],
                    "raw": f"Dog {place} of image {number}. ",
                    "imgid": number,
                    "sentid": 10 * number + place,
                }
                for place in range(count)
            ],
            "cocoid": number,
        }
        for number, (split, count) in enumerate(zip(splits, [5, 5, 6, 7, 5, 0], strict=True))
    ]
    return {"images": images, "dataset": "coco"}


def read(tmp_path, content, strict=False):
    path = tmp_path / "dataset_coco.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    problems = Problems("coco", strict)
    return read_karpathy(path, "coco", problems), problems.frame()


def test_every_caption_of_every_image_is_read_and_restval_is_trained_on(tmp_path):
    images, problems = read(tmp_path, published(), strict=True)
    assert [image.split for image in images] == ["train", "train", "validation", "test", "train", "test"]
    assert [len(image.captions) for image in images] == [5, 5, 6, 7, 5, 0]
    assert images[3].captions[6] == (6, "Dog 6 of image 3.")
    assert (images[3].name, images[3].cocoid, images[3].row) == ("COCO_val2014_000000000003.jpg", 3, "images[3]")
    assert problems.empty


def test_images_that_are_not_present_are_counted(tmp_path):
    images, _ = read(tmp_path, published())
    problems = Problems("coco", strict=False)
    present = {image.name: f"val2014/{image.name}" for image in images if image.cocoid != 2}
    listed, captions = listed_and_captions(images, present, "dataset_coco.json", problems)
    assert {split: len(names) for split, names in listed.items()} == {"train": 3, "validation": 0, "test": 2}
    assert len(captions) == 22
    assert captions.iloc[21].to_list() == ["COCO_val2014_000000000004.jpg#4", images[4].name, "Dog 4 of image 4.", None]
    frame = problems.frame()
    assert frame.to_numpy().tolist() == [
        ["dataset_coco.json", "images[2]", f"names image {images[2].name}, which is not in images"]
    ]


def test_a_broken_caption_keeps_its_image_and_the_numbers_of_the_others(tmp_path):
    content = published()
    content["images"][0]["sentences"][1]["raw"] = "  "
    images, problems = read(tmp_path, content)
    assert [number for number, _ in images[0].captions] == [0, 2, 3, 4]
    assert problems.loc[0, "row"] == "images[0].sentences[1]"
    assert problems.loc[0, "problem"].startswith("field raw: ")
    with pytest.raises(UserError, match=r"dataset_coco.json, images\[0\].sentences\[1\]: field raw"):
        read(tmp_path, content, strict=True)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("filename", "COCO_val2014_000000000001.jpg", "COCO_val2014_000000000001.jpg appears twice"),
        ("filename", "../x.jpg", "field filename: "),
        ("filename", "a\nb.jpg", "field filename: "),
        ("split", "dev", "field split: input should be 'train', 'restval', 'val' or 'test'"),
        ("sentences", "none", "field sentences: "),
        ("cocoid", "one", "field cocoid: "),
    ],
)
def test_a_broken_image_is_counted_or_stops_a_strict_run(tmp_path, field, value, message):
    content = published()
    content["images"][4][field] = value
    images, problems = read(tmp_path, content)
    assert len(images) == 5
    assert problems.loc[0, "row"] == "images[4]" and message in problems.loc[0, "problem"]
    with pytest.raises(UserError, match=r"coco: dataset_coco.json, images\[4\]: "):
        read(tmp_path, content, strict=True)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(sorted(published()["images"][0])), JUNK | st.just(...))))
def test_whatever_a_field_holds_each_row_is_read_or_counted(tmp_path_factory, changes):
    content = published()
    for row, field, value in changes:
        if value is ...:
            content["images"][row].pop(field, None)
        else:
            content["images"][row][field] = value
    images, problems = read(tmp_path_factory.mktemp("karpathy"), content)
    of_caption = problems["row"].str.contains("sentences")
    assert len(images) + (~of_caption).sum() == 6
    entries = {image.row: content["images"][int(image.row[7:-1])] for image in images}
    assert sum(len(image.captions) for image in images) + of_caption.sum() == sum(
        len(entry["sentences"]) for entry in entries.values()
    )
    assert len({image.name for image in images}) == len(images)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["tokens", "raw", "sentid"]), JUNK)))
def test_whatever_a_caption_holds_it_is_kept_or_counted(tmp_path_factory, changes):
    content = published()
    for place, field, value in changes:
        content["images"][0]["sentences"][place][field] = value
    images, problems = read(tmp_path_factory.mktemp("karpathy"), content)
    assert len(images) == 6
    assert len(images[0].captions) + len(problems) == 5
    for number, text in images[0].captions:
        assert text == content["images"][0]["sentences"][number]["raw"].strip() != ""


@given(st.integers(0, len(json.dumps(published())) - 1))
def test_a_file_that_is_cut_off_is_one_line_that_names_it(tmp_path_factory, length):
    with pytest.raises(UserError, match="dataset_coco.json: (line 1, column .* download it again|is empty)") as caught:
        read(tmp_path_factory.mktemp("karpathy"), json.dumps(published())[:length])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[], {}, {"images": {}}, {"images": None}, 3])
def test_a_file_without_images_is_not_the_published_one(tmp_path, content):
    with pytest.raises(UserError, match="its field 'images' is not a list; this is not the published file"):
        read(tmp_path, content)
