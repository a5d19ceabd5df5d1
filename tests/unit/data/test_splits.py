import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.config.data import DataConfig
from vialign.data.base import Problems
from vialign.data.datasets.splits import assign_splits, at_most, divide, divide_validation, read_lists
from vialign.errors import UserError

TRAIN = [f"t{number}.jpg" for number in range(12)]
SIZES = {"confirmation": 1, "calibration": 2, "diagnosis": 3}
NAMES = st.sets(st.text("abcdef", min_size=1), min_size=8, max_size=40)
SEEDS = st.integers(0, 2**32)


@given(NAMES, SEEDS)
def test_division_is_a_partition_that_ignores_the_order_of_names(names, seed):
    parts = divide(sorted(names), SIZES, seed, "x")
    assert parts == divide(sorted(names, reverse=True), SIZES, seed, "x")
    assert sorted(name for part in parts.values() for name in part) == sorted(names)
    assert [len(parts[split]) for split in SIZES] == [1, 2, 3]


def test_division_depends_on_the_seed_and_on_the_data_set():
    assert divide(TRAIN, SIZES, 0, "x") == divide(TRAIN, SIZES, 0, "x")
    assert divide(TRAIN, SIZES, 0, "x") != divide(TRAIN, SIZES, 1, "x")
    assert divide(TRAIN, SIZES, 0, "x") != divide(TRAIN, SIZES, 0, "y")


def test_division_refuses_to_leave_nothing_for_training():
    divide(TRAIN, {"confirmation": 2, "calibration": 3, "diagnosis": 6}, 0, "x")
    with pytest.raises(UserError, match="none of the 12 training images for training"):
        divide(TRAIN, {"confirmation": 2, "calibration": 3, "diagnosis": 7}, 0, "x")


def test_no_other_size_changes_the_images_that_confirm():
    first = divide(TRAIN, SIZES, 0, "x")
    for split in ("calibration", "diagnosis", "train"):
        assert divide(TRAIN, {**SIZES, split: 1}, 0, "x")["confirmation"] == first["confirmation"]
    assert len({tuple(divide(TRAIN, SIZES, seed, "x")["confirmation"]) for seed in range(40)}) > 6


@given(NAMES, SEEDS)
def test_validation_images_choose_or_gate_and_never_both(names, seed):
    parts = divide_validation(sorted(names), {}, seed, "x")
    assert parts == divide_validation(sorted(names, reverse=True), {}, seed, "x")
    assert sorted(parts["gate"] + parts["selection"]) == sorted(names)
    assert len(parts["gate"]) == round(0.4 * len(names))
    limited = divide_validation(sorted(names), {"gate": 3, "selection": 2}, seed, "x")
    assert {split: len(part) for split, part in limited.items()} == {"gate": 3, "selection": 2}
    with pytest.raises(UserError, match=f"data.sizes.gate: {len(names)} leaves none of the {len(names)} validation"):
        divide_validation(sorted(names), {"gate": len(names)}, seed, "x")


@given(NAMES, st.integers(1, 50), SEEDS)
def test_a_limit_draws_so_many_names_whatever_their_order(names, limit, seed):
    drawn = at_most(sorted(names), limit, seed, "x", "test")
    assert drawn == sorted(drawn) == at_most(sorted(names, reverse=True), limit, seed, "x", "test")
    assert len(drawn) == min(limit, len(names))
    assert set(drawn) <= names
    assert at_most(sorted(names), None, seed, "x", "test") == sorted(names)


def test_another_seed_draws_others():
    assert at_most(TRAIN, 3, 0, "x", "test") == at_most(TRAIN, 3, 0, "x", "test")
    assert len({tuple(at_most(TRAIN, 3, seed, "x", "test")) for seed in range(20)}) > 10


def config(**changes) -> DataConfig:
    return DataConfig(dataset="flickr8k", **{"sizes": SIZES, **changes})


def test_published_splits_become_the_projects_and_sizes_limit_them(tmp_path):
    listed = {"train": TRAIN, "validation": ["d0", "d1"], "test": ["e0", "e1", "e2"]}
    problems = Problems("x", strict=True)
    splits = assign_splits(listed, config(), 0, "x", problems)
    counts = {split: list(splits.values()).count(split) for split in sorted(set(splits.values()))}
    assert counts == {**SIZES, "gate": 1, "selection": 1, "test": 3, "train": 6}
    assert {name for name, split in splits.items() if split == "test"} == {"e0", "e1", "e2"}
    limited = {"confirmation": 1, "calibration": 1, "diagnosis": 1, "train": 4, "selection": 1, "gate": 1, "test": 2}
    splits = assign_splits(listed, config(sizes=limited), 0, "x", problems)
    assert {split: list(splits.values()).count(split) for split in limited} == limited


def test_only_images_of_the_tuning_list_are_trained_on(tmp_path):
    listed = {"train": TRAIN, "validation": ["d0"], "test": ["e0"]}
    path = tmp_path / "tune.txt"
    path.write_text("\n".join([*TRAIN[::2], "", "d0", "gone"]))
    problems = Problems("x", strict=False, tolerance=1.0)
    splits = assign_splits(listed, config(tune_list=str(path), sizes=dict.fromkeys(SIZES, 1)), 0, "x", problems)
    assert set(splits) == {*TRAIN[::2], "d0", "e0"}
    assert problems.frame()["row"].to_list() == ["line 8", "line 9"]
    assert (problems.frame()["problem"].str.contains("is not a training image here")).all()
    with pytest.raises(UserError, match="tune.txt, line 8: d0 is not a training image"):
        assign_splits(
            listed, config(tune_list=str(path), sizes=dict.fromkeys(SIZES, 1)), 0, "x", Problems("x", strict=True)
        )
    with pytest.raises(UserError, match="gone.txt: no such file; name the list of images for tuning or drop it"):
        assign_splits(listed, config(tune_list=str(tmp_path / "gone.txt")), 0, "x", problems)


def test_lists_name_images_with_or_without_their_ending(tmp_path):
    (tmp_path / "train.txt").write_text("a.jpg\nb\n\n")
    (tmp_path / "test.txt").write_text(" c \na\nmissing\n")
    problems = Problems("x", strict=False)
    lists = {"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"}
    listed = read_lists(lists, {"a.jpg", "b.jpg", "c"}, "x", problems, ending=".jpg")
    assert listed == {"train": ["a.jpg", "b.jpg"], "test": ["c"]}
    assert problems.frame().to_numpy().tolist() == [
        ["test.txt", "line 2", "names image a.jpg again, which is in train"],
        ["test.txt", "line 3", "names image missing.jpg, which is not in images"],
    ]


@given(st.lists(st.text("ab./\t", max_size=4)), st.lists(st.text("ab./\t", max_size=4)))
def test_every_line_of_a_list_is_taken_or_counted(tmp_path_factory, train, test):
    folder = tmp_path_factory.mktemp("lists")
    for name, lines in (("train", train), ("test", test)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    problems = Problems("x", strict=False)
    listed = read_lists({name: folder / name for name in ("train", "test")}, {"a", "b", "ab"}, "x", problems)
    named = [line for line in [*train, *test] if line.strip()]
    assert sum(map(len, listed.values())) + len(problems.frame()) == len(named)
    assert {name for names in listed.values() for name in names} <= {"a", "b", "ab"}
