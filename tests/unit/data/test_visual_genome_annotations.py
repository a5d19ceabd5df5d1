import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from unit.data.visual_genome_folder import SIZE, config, documents, make, reasons, write
from vialign.data.base import check_references
from vialign.data.datasets.visual_genome import read
from vialign.data.datasets.visual_genome_annotations import RegionRow, clip_box
from vialign.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A small data set in the published layout, without any broken row."""
    (tmp_path / "vg").mkdir()
    return make(tmp_path / "vg")


@given(st.tuples(st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 80), st.integers(0, 80)))
def test_a_clipped_box_is_the_part_inside_the_image(box):
    clipped = clip_box(box, SIZE)
    x, y, width, height = box
    if clipped is None:
        assert not (width and height) or x >= 40 or y >= 20 or x + width <= 0 or y + height <= 0
        return
    left, top, across, down = clipped
    assert across > 0 and down > 0
    assert (left, top, left + across, top + down) == (max(x, 0), max(y, 0), min(x + width, 40), min(y + height, 20))


def test_boxes_that_stick_out_are_clipped_and_counted(folder):
    files = documents()
    files["objects"][0]["objects"][0] |= {"x": -1, "w": 50}
    files["objects"][1]["objects"][0] |= {"h": 30}
    write(folder, files)
    tables = read(config(folder), 0)
    assert tables.objects.set_index("object_id").loc["1/11", ["x", "y", "width", "height"]].to_list() == [0, 3, 40, 12]
    assert reasons(tables)["problem"].to_list() == ["2 boxes stick out of their image and were clipped to it"]


def broken(name, place, **changes):
    """Changes to the row at `place` (image, row) of a file, or to the entry of the image."""

    def apply(files):
        row = files[name][place[0]]
        if len(place) == 2:
            row = row[{"region_descriptions": "regions"}.get(name, name)][place[1]]
        row.update(changes)

    return f"{name}.json", apply


# Table, what breaks it, the rows that are lost, and the reason given.
BROKEN = {
    "box outside": ("objects", broken("objects", (0, 2), x=41), 1, "the box of object 13 has no area in the image"),
    "box negative": ("objects", broken("objects", (0, 2), w=-4), 1, "the box of object 13 has no area in the image"),
    "box not a number": ("objects", broken("objects", (0, 2), h=float("nan")), 1, "field h: input should be a finite"),
    "no name": ("objects", broken("objects", (0, 2), names=[" "]), 1, "object 13 has no name"),
    "no names": ("objects", broken("objects", (0, 2), names=[]), 1, "field names: list should have at least 1 item"),
    "object twice": ("objects", broken("objects", (0, 2), object_id=12), 1, "object 12 appears twice"),
    "unknown image": ("objects", broken("objects", (0,), image_id=9), 3, "names image 9, which is not in image_data"),
    "no list": ("objects", broken("objects", (0,), objects=None), 3, "field objects: input should be a valid list"),
    "no subject": ("relations", broken("relationships", (0, 0), subject=None), 1, "field subject: input should be"),
    "unknown subject": (
        "relations",
        broken("relationships", (0, 0), subject={"object_id": 99}),
        1,
        "names object 99, which is not in the image",
    ),
    "no predicate": ("relations", broken("relationships", (0, 0), predicate=""), 1, "relation 11 has no predicate"),
    "relation twice": (
        "relations",
        broken("relationships", (0, 0), relationship_id=12),
        1,
        "relation 12 appears twice",
    ),
    "empty phrase": (
        "captions",
        broken("region_descriptions", (0, 0), phrase="\t"),
        1,
        "region 11 has an empty phrase",
    ),
    "empty region": ("captions", broken("region_descriptions", (0, 0), width=0), 1, "region 11 has no area"),
    "region twice": ("captions", broken("region_descriptions", (0, 0), region_id=13), 1, "region 13 appears twice"),
    "attributes of none": ("images", broken("attributes", (0, 0), object_id=99), 0, "names object 99, which is not in"),
    "empty attribute": ("images", broken("attributes", (0, 0), attributes=["", "a"]), 0, "12 has an empty attribute"),
    "another size": (
        "images",
        broken("image_data", (0,), width=41),
        1,
        "has 40x20 pixels, but image_data.json says 41",
    ),
    "no photograph": ("images", broken("image_data", (0,), image_id=9), 1, "names image 9.jpg, which is not there"),
    "image twice": ("images", broken("image_data", (0,), image_id=2), 1, "image 2 appears twice"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_row_is_skipped_counted_and_explained_or_stops_a_strict_run(folder, case, capsys):
    table, (file, apply), lost, message = BROKEN[case]
    clean = read(config(folder), 0)
    files = documents()
    apply(files)
    write(folder, files)
    tables = read(config(folder, strict=False), 0)
    assert len(getattr(clean, table)) - len(getattr(tables, table)) == lost
    problem = reasons(tables).iloc[0]
    assert message in problem["problem"]
    assert problem["file"] == file or "VG_100K" in problem["file"]
    assert "skipped; set data.strict: true to stop here instead." in capsys.readouterr().err
    with pytest.raises(UserError) as stopped:
        read(config(folder), 0)
    assert message in str(stopped.value) and "\n" not in str(stopped.value)


def test_what_hangs_on_a_removed_object_goes_with_a_reason_each(folder):
    files = documents()
    del files["objects"][0]["objects"][1]
    write(folder, files)
    tables = read(config(folder, strict=False), 0)
    assert (len(tables.objects), len(tables.relations)) == (23, 14)
    assert reasons(tables)["file"].value_counts().to_dict() == {"attributes.json": 1, "relationships.json": 2}


VALUES = st.sampled_from(
    [
        None,
        "",
        "x" * 10_000,
        "<script>",
        "../../etc/passwd",
        "/etc/passwd",
        -5,
        0,
        1e9,
        2**70,
        float("nan"),
        [],
        {},
        "7",
    ]
)


def places(node, path=()):
    """Paths to everything inside a JSON document."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = {name: list(places(content)) for name, content in documents().items()}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return make(tmp_path_factory.mktemp("vg"))


@given(data=st.data())
def test_damaged_documents_lose_no_row_without_a_reason_and_raise_nothing_but_one_line(room, data):
    files = documents()
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from(sorted(files)))
        *way, last = data.draw(st.sampled_from(PLACES[name]))
        node = files[name]
        try:
            for key in way:
                node = node[key]
            kind = data.draw(st.sampled_from(["delete", "replace", "twice"]))
            if kind == "delete":
                del node[last]
            elif kind == "replace" or not isinstance(node, list):
                node[last] = data.draw(VALUES)
            else:
                node.append(node[last])
        except (KeyError, IndexError, TypeError):
            pass  # The first change took away what the second would have changed.
    write(room, files)
    try:
        tables = read(config(room, strict=False), 0)
    except UserError as error:
        assert "\n" not in str(error) and (".json" in str(error) or "data.sizes" in str(error))
        return
    check_references(tables, "visual_genome", strict=True)
    used, problems = set(tables.images["image_id"]), tables.problems
    of_images = problems["file"].eq("image_data.json") | problems["file"].str.startswith("VG_100K")
    assert len(tables.images) + of_images.sum() == len(files["image_data"])
    for name, key, kept in (
        ("objects", "objects", tables.objects),
        ("relationships", "relationships", tables.relations),
        ("region_descriptions", "regions", tables.captions),
    ):
        told = problems["file"].eq(f"{name}.json") & problems["row"].str.startswith("image ")
        assert len(kept) + told.sum() == sum(not is_small(row) for row in listed(files[name], key, used)), name


def listed(images, key, used):
    """Every row that a damaged file lists of the images in use."""
    for image in images:
        if isinstance(image, dict) and str(image.get("image_id", image.get("id"))) in used:
            yield from image[key] if isinstance(image.get(key), list) else ()


def is_small(row):
    """Whether it is a whole region that covers less than half of the image, and so no caption."""
    try:
        RegionRow.model_validate(row)
        box = clip_box(tuple(float(row[side]) for side in ("x", "y", "width", "height")), SIZE)
    except ValidationError:
        return False
    return box is not None and box[2] * box[3] < 400 and row["phrase"].strip() != ""
