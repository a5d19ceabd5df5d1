import base64
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.data.regions import indexed_tsv
from vialign.data.regions.reading import NOTE, index_regions
from vialign.errors import UserError

SIZES = {"391895": (640, 480), "cafés": (30, 40), "12": (100, 50)}
NAMES = ("dog", "red ball")


def regions_of(number, width=6):
    """Two boxes and their features, different for every image."""
    boxes = np.array([[0, 0, 10, 20], [5.5, 4, 28 + number, 40]], dtype=np.float32)
    return boxes, np.arange(2 * width, dtype=np.float32).reshape(2, width) + number


def encode(array):
    return base64.b64encode(np.asarray(array, dtype=np.float32).tobytes()).decode()


def table(folder, rows, name="train.tsv"):
    path = folder / name
    path.write_text("".join("\t".join(str(cell) for cell in row) + "\n" for row in rows), encoding="utf-8")
    return path


def bottom_up_rows():
    rows = []
    for number, (image_id, (width, height)) in enumerate(SIZES.items()):
        boxes, features = regions_of(number)
        rows.append([image_id, width, height, 2, encode(boxes), encode(features)])
    return rows


def bottom_up(folder):
    return table(folder, bottom_up_rows())


def objects(boxes):
    return [
        {"class": name, "conf": 0.9, "rect": [float(side) for side in box]}
        for name, box in zip(NAMES, boxes, strict=True)
    ]


def retrieval(folder):
    """As VinVL is downloaded: the predictions in another order than the features."""
    features, predictions = [], []
    for number, (image_id, (width, height)) in enumerate(SIZES.items()):
        boxes, vectors = regions_of(number)
        features.append([image_id, 2, encode(vectors)])
        cell = {"image_h": height, "image_w": width, "num_boxes": 2, "objects": objects(boxes), "predicates": []}
        predictions.append([image_id, json.dumps(cell)])
    table(folder, predictions[::-1], "predictions.tsv")
    return table(folder, features, "features.tsv")


def captioning(folder):
    features, labels, sizes = [], [], []
    for number, (image_id, (width, height)) in enumerate(SIZES.items()):
        boxes, vectors = regions_of(number)
        features.append([image_id, json.dumps({"num_boxes": 2, "features": encode(vectors)})])
        labels.append([image_id, json.dumps(objects(boxes))])
        sizes.append([image_id, json.dumps([{"height": height, "width": width}])])
    table(folder, labels, "test.label.tsv")
    table(folder, sizes, "test.hw.tsv")
    return table(folder, features, "test.feature.tsv")


def npz_arrays(number, size):
    boxes, features = regions_of(number)
    return {"bbox": boxes, "x": features, "image_w": size[0], "image_h": size[1], "num_bbox": 2}


def npz_folder(folder):
    for number, (image_id, size) in enumerate(SIZES.items()):
        info = np.array({"objects_id": [1, 2]}, dtype=object)  # pickled, as published: never opened
        np.savez_compressed(folder / f"{image_id}.npz", **npz_arrays(number, size), info=info)
    return folder


FORMS = {"bottom-up": bottom_up, "retrieval": retrieval, "captioning": captioning, "npz": npz_folder}


def all_regions(path):
    """The regions of every image of a file or folder, one after the other."""
    index = index_regions(path)
    return (index.read(name) for name in index.names)


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_gives_the_same_regions(tmp_path, form):
    found = {regions.image_id: regions for regions in all_regions(FORMS[form](tmp_path))}
    assert set(found) == set(SIZES)
    for number, (image_id, size) in enumerate(SIZES.items()):
        boxes, features = regions_of(number)
        regions = found[image_id]
        assert (regions.width, regions.height) == size
        np.testing.assert_array_equal(regions.boxes, boxes)
        np.testing.assert_array_equal(regions.features, features)
        assert regions.boxes.dtype == regions.features.dtype == np.float32
        assert regions.labels == (NAMES if form in ("retrieval", "captioning") else ())


@pytest.mark.parametrize("form", ["bottom-up", "retrieval", "captioning"])
def test_an_indexed_file_gives_single_images_in_any_order(tmp_path, form):
    path = FORMS[form](tmp_path)
    index = index_regions(path)
    for expected in reversed(list(all_regions(path))):
        found = index.read(expected.image_id)
        np.testing.assert_array_equal(found.features, expected.features)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        assert found.labels == expected.labels
    with pytest.raises(UserError, match=f"{path.name}: has no row of image 7"):
        index.read("7")


def test_names_in_npz_files_become_labels(tmp_path):
    arrays = npz_arrays(0, (640, 480))
    np.savez(tmp_path / "1.npz", **arrays, objects=np.array(["dog", "ball"]), attrs=np.array(["brown", "red"]))
    np.savez(tmp_path / "2.npz", **arrays, objects=np.array(["dog", "ball"]))
    labels = {regions.image_id: regions.labels for regions in all_regions(tmp_path)}
    assert labels == {"1": ("brown dog", "red ball"), "2": ("dog", "ball")}


def test_reading_holds_a_few_rows_in_memory_however_long_the_file_is(tmp_path):
    boxes = np.tile(np.array([[0, 0, 10, 20]], dtype=np.float32), (36, 1))
    features = np.ones((36, 512), dtype=np.float32)
    rows = [[f"{number}", 640, 480, 36, encode(boxes), encode(features)] for number in range(200)]
    path = table(tmp_path, rows)
    row = path.stat().st_size / 200
    del rows
    tracemalloc.start()
    try:
        assert sum(len(regions.boxes) for regions in all_regions(path)) == 200 * 36
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * row


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    path = bottom_up(tmp_path)
    monkeypatch.setattr(indexed_tsv, "LINE_LIMIT", 1000)
    assert len(list(all_regions(path))) == 3
    path.write_bytes(path.read_bytes() + b"x" * 5000)
    with pytest.raises(UserError, match=r"train\.tsv, line 4: has 1000 bytes or more"):
        list(all_regions(path))


BOXES, FEATURES = regions_of(0)


def with_box(*box):
    return encode([BOXES[0], box])


CELLS = {
    "width no number": (1, "wide", "field image_w: is not a whole number"),
    "height zero": (2, 0, "field image_h: is not a whole number"),
    "height infinite": (2, "inf", "field image_h: is not a whole number"),
    "negative number of boxes": (3, -2, "field num_boxes: is not a whole number"),
    "fractional number of boxes": (3, "1.5", "field num_boxes: is not a whole number"),
    "another number of boxes": (3, 3, "field boxes: its 32 bytes are not float32 for 3 regions"),
    "half the number of boxes": (3, 1, "field boxes: has shape \\(1, 8\\)"),
    "bad base64 in boxes": (4, "!!!!", "field boxes: is not base64"),
    "bad base64 in features": (5, encode(FEATURES)[:-3], "field features: is not base64"),
    "no features": (5, "", "field features: its 0 bytes are not float32"),
    "cut features": (5, encode(FEATURES)[:-4], "field features: its 45 bytes are not float32"),
    "box not a number": (4, with_box(0, 0, float("nan"), 4), "field boxes: region 1 is not a number"),
    "box outside": (4, with_box(0, 0, 642, 4), "field boxes: region 1 leaves the 640x480 image"),
    "box left of the image": (4, with_box(-2, 0, 10, 4), "field boxes: region 1 leaves the 640x480 image"),
    "box reversed": (4, with_box(10, 10, 5, 20), "field boxes: region 1 is empty"),
    "feature not a number": (5, encode(FEATURES + np.inf), "field features: region 0 holds something"),
}


@pytest.mark.parametrize("case", CELLS)
def test_an_error_names_the_file_the_line_and_the_field(tmp_path, case):
    column, value, message = CELLS[case]
    rows = bottom_up_rows()
    rows[1][:3] = ["391896", 640, 480]
    rows[1][column] = value
    path = table(tmp_path, rows)
    stream = all_regions(path)
    assert next(stream).image_id == "391895"
    with pytest.raises(UserError, match=f"train.tsv, line 2, {message}") as stopped:
        next(stream)
    assert "\n" not in str(stopped.value)
    assert index_regions(path).read("12").image_id == "12"


def test_boxes_may_leave_the_image_by_rounding(tmp_path):
    rows = bottom_up_rows()
    rows[0][4] = with_box(-0.5, 0, 640.9, 480.5)
    assert next(all_regions(table(tmp_path, rows))).boxes[1, 2] == np.float32(640.9)


def test_rows_of_another_table_are_refused(tmp_path):
    with pytest.raises(UserError, match="line 1: has 4 columns; bottom-up attention has 6"):
        list(all_regions(table(tmp_path, [["1", "a dog", "3", "4"]])))
    rows = bottom_up_rows()
    with pytest.raises(UserError, match="line 4, field image_id: 391895 is on line 1 too"):
        list(all_regions(table(tmp_path, [*rows, rows[0]])))
    with pytest.raises(UserError, match="gone.tsv: cannot be opened"):
        list(all_regions(tmp_path / "gone.tsv"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: has no npz file"):
        list(all_regions(tmp_path / "empty"))


def change(path, image_id, edit):
    """Replace the JSON of one image in a VinVL file by what `edit` makes of it."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text(
        "".join(f"{key}\t{json.dumps(edit(json.loads(cell))) if key == image_id else cell}\n" for key, cell in lines),
        encoding="utf-8",
    )


def test_vinvl_files_must_belong_together(tmp_path):
    path = retrieval(tmp_path)
    predictions = tmp_path / "predictions.tsv"
    assert len(list(all_regions(path))) == 3
    change(predictions, "12", lambda cell: {**cell, "objects": cell["objects"][:1]})
    with pytest.raises(UserError, match=r"predictions.tsv, line 1, field objects: has 1 regions, but .*line 3 has 2"):
        list(all_regions(path))
    change(predictions, "12", lambda cell: {**cell, "objects": [{"class": "dog", "rect": [0, 0, "x", 1]}] * 2})
    with pytest.raises(UserError, match=r"predictions.tsv, line 1, field objects.0.rect.2: "):
        list(all_regions(path))
    change(predictions, "12", lambda cell: [])
    with pytest.raises(UserError, match="line 1: has no image_w and image_h; put <name>.hw.tsv beside features.tsv"):
        list(all_regions(path))
    predictions.write_text("391895\t{\n")
    with pytest.raises(UserError, match="predictions.tsv, line 1, field 2: is not JSON"):
        list(all_regions(path))
    predictions.write_text("1\t{}\n")
    with pytest.raises(UserError, match="predictions.tsv: has no row of image 391895"):
        list(all_regions(path))
    predictions.unlink()
    with pytest.raises(UserError, match="features.tsv: has features without boxes; put VinVL's predictions.tsv beside"):
        list(all_regions(path))


NPZ = {
    "no boxes": ({"bbox": None}, "has no field bbox or boxes"),
    "pickled boxes": ({"bbox": np.array([{}], dtype=object)}, "is not a readable npz file"),
    "flat boxes": ({"bbox": np.zeros(8)}, "field boxes: has shape"),
    "boxes of text": ({"bbox": np.full((2, 4), "a")}, "field boxes: has shape"),
    "fewer features": ({"x": np.zeros((1, 6))}, "field features: has shape"),
    "features beyond float32": ({"x": np.full((2, 6), 1e300)}, "field features: region 0 holds something"),
    "width of two numbers": ({"image_w": np.array([3, 4])}, "field image_w: is not a whole number"),
    "class numbers": ({"objects": np.array([1, 2])}, "field objects: is not one name a region"),
    "too few attributes": ({"objects": np.array(["a", "b"]), "attrs": np.array(["c"])}, "field attrs: is not one"),
}


@pytest.mark.parametrize("case", NPZ)
def test_a_broken_npz_file_is_one_line(tmp_path, case):
    changes, message = NPZ[case]
    arrays = {**npz_arrays(0, (640, 480)), **changes}
    np.savez(tmp_path / "1.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError, match=rf"1\.npz.* {message}") as stopped:
        list(all_regions(tmp_path))
    assert "\n" not in str(stopped.value)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("regions")


@given(form=st.sampled_from(sorted(FORMS)), data=st.data())
def test_damaged_bytes_give_all_regions_or_one_line_and_never_another_error(room, form, data):
    folder = room / form
    folder.mkdir(exist_ok=True)
    path = FORMS[form](folder)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(file.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(0, 40))
    content[start : start + length] = data.draw(st.binary(max_size=20))
    file.write_bytes(content)
    found = 0
    try:
        for regions in all_regions(path):
            found += 1
            assert np.isfinite(regions.boxes).all() and np.isfinite(regions.features).all()
            assert len(regions.boxes) == len(regions.features) >= 1
    except UserError as error:
        assert "\n" not in str(error) and str(room) in str(error)
    else:
        lines = len([line for line in path.read_bytes().split(b"\n") if line.strip()]) if path.is_file() else 3
        assert found == lines


def test_the_note_says_how_to_get_them():
    assert NOTE.title and NOTE.licence and "https://" in NOTE.obtain and NOTE.files
