import json
import shutil
from contextlib import redirect_stderr
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vialign.config.data import BenchmarkConfig
from vialign.data.base import Problems, check_references
from vialign.data.benchmarks.vqa import (
    ANNOTATION_FILE,
    CANDIDATE_FILE,
    IMAGE_FOLDER,
    NOTE,
    QUESTION_FILE,
    frequent_answers,
    image_name,
    read,
    read_items,
    write_published,
)
from vialign.data.benchmarks.vqa_answers import distinct_answers, normalise_answer
from vialign.data.scenes.benchmarks import Shown, questions
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.sampling import sample_scenes
from vialign.errors import UserError
from vialign.tables.data import IMAGES, QUESTIONS

ASKED = [
    (1, 42, "What color is the cat?", "what color is the", "black", ["black"] * 8 + ["dark", "gray"]),
    (2, 42, "What color is the sofa?", "what color is the", "brown", ["brown"] * 9 + ["tan"]),
    (3, 73, "Is the dog on the bed?", "is the", "no", ["no"] * 9 + ["yes"]),
    (4, 73, "Where is the dog?", "where is the", "floor", ["floor"] * 5 + ["on floor"] * 5),
    (5, 73, "How many dogs are there?", "how many", "1", ["1"] * 10),
]
"""Question, image, words, type, majority answer and ten answers."""


def question_rows():
    return [{"image_id": image, "question": text, "question_id": name} for name, image, text, *_ in ASKED]


def annotation_rows():
    return [
        {
            "question_type": question_type,
            "multiple_choice_answer": answer,
            "answers": [
                {"answer": given, "answer_confidence": "maybe", "answer_id": place}
                for place, given in enumerate(answers, start=1)
            ],
            "image_id": image,
            "answer_type": "other",
            "question_id": name,
        }
        for name, image, _, question_type, answer, answers in ASKED
    ]


def write_folder(root, questions=None, annotations=None, candidates=None):
    """The published layout."""
    (root / IMAGE_FOLDER).mkdir(parents=True, exist_ok=True)
    for number in (42, 73):
        Image.new("RGB", (number, 30)).save(root / IMAGE_FOLDER / image_name(number))
    asked = {"info": {}, "task_type": "Open-Ended", "data_type": "mscoco", "license": {}, "data_subtype": "val2014"}
    asked["questions"] = question_rows() if questions is None else questions
    (root / QUESTION_FILE).write_text(json.dumps(asked))
    annotated = {"info": {}, "annotations": annotation_rows() if annotations is None else annotations}
    (root / ANNOTATION_FILE).write_text(json.dumps(annotated))
    if candidates is not None:
        (root / CANDIDATE_FILE).write_text(json.dumps({"candidates": candidates}))
    return root


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "vqa")


def config(folder, **changes) -> BenchmarkConfig:
    # The folder is small, so that a share of broken rows means nothing.
    given = {"folder": str(folder), "strict": True, "tolerance": 1.0}
    return BenchmarkConfig(**{**given, **changes})


def broken(tables):
    """The problems that are no notes."""
    return tables.problems[~tables.problems["problem"].str.contains("are in the subset|majority answer")]


def test_the_subset_of_a_clean_folder_is_read_whole_even_when_strict(folder):
    tables = read(config(folder), 0)
    rows = QUESTIONS.check(tables.questions).set_index("question_id")
    assert rows["kind"].to_dict() == {
        "vqa/1": "attribute",
        "vqa/2": "attribute",
        "vqa/3": "relation",
        "vqa/4": "relation",
    }
    assert set(rows["split"]) == {"vqa"}
    assert rows.loc["vqa/1", "image_id"] == "vqa/COCO_val2014_000000000042"
    assert rows.loc["vqa/1", "answers"] == ["black"] * 8 + ["dark", "gray"]
    images = IMAGES.check(tables.images).set_index("image_id")
    assert images[["width", "height"]].to_dict("index") == {
        "vqa/COCO_val2014_000000000042": {"width": 42, "height": 30},
        "vqa/COCO_val2014_000000000073": {"width": 73, "height": 30},
    }
    assert all((tables.image_folder / path).is_file() for path in images["path"])
    assert tables.captions.empty
    assert tables.choices.empty
    assert broken(tables).empty
    checked, lines = check_references(tables, "vqa", strict=True)
    assert (len(checked.questions), lines) == (4, [])


def test_candidates_are_the_frequent_answers_of_the_type_and_never_the_truth_for_its_own_sake(folder):
    tables = read(config(folder), 0)
    rows = tables.questions.set_index("question_id")
    assert rows.loc["vqa/1", "candidates"] == ["brown", "black", "dark", "gray", "tan"]
    assert rows.loc["vqa/1", "statements"][:2] == ["the cat is brown", "the cat is black"]
    assert rows.loc["vqa/3", "candidates"] == ["yes", "no"]
    assert rows.loc["vqa/3", "statements"] == ["the dog is on the bed", "the dog is not on the bed"]
    assert rows.loc["vqa/4", "candidates"] == ["floor", "on floor"]


def test_only_ten_answers_of_a_type_are_candidates_and_the_ceiling_is_noted(tmp_path):
    asked, annotated = question_rows()[:1], annotation_rows()[:1]
    for n in range(12):
        asked.append({"question_id": 10 + n, "image_id": 42, "question": f"What color is the thing {n}?"})
        answers = [{"answer": f"shade {n:02}"}] * 10
        row = annotated[0] | {"question_id": 10 + n, "multiple_choice_answer": f"shade {n:02}", "answers": answers}
        annotated.append(row)
    tables = read(config(write_folder(tmp_path, asked, annotated)), 0)
    assert set(map(tuple, tables.questions["candidates"])) == {tuple(f"shade {n:02}" for n in range(10))}
    note = tables.problems.iloc[-1]["problem"]
    assert note.startswith("3 of 13 questions (23.1%) have a majority answer that is not among their candidates")


def test_frequent_answers_count_people_and_break_ties_by_the_alphabet():
    items = pd.DataFrame({"question_type": ["a", "a", "b"], "answers": [["x", "Y "], ["y", "x", "w"], ["", "z"]]})
    assert frequent_answers(items, 2) == {"a": ["x", "y"], "b": ["z"]}


def test_all_well_formed_questions_are_items_with_the_rule_that_takes_them(folder):
    items = read_items(folder, Problems("vqa", strict=True)).set_index("question_id")
    assert items["rule"].to_dict() == {1: "colour", 2: "colour", 3: "place check", 4: "where", 5: ""}
    assert items.loc[4, "image"] == "COCO_val2014_000000000073.jpg"
    assert items.loc[4, "answer"] == "floor"


def test_the_subset_is_counted_by_rule_in_a_note(folder, capsys):
    tables = read(config(folder), 0)
    note = tables.problems.iloc[0]["problem"]
    assert note.startswith("4 of 5 questions (published: 214354) are in the subset: colour 2")
    assert note in capsys.readouterr().err


def test_a_limit_draws_by_seed_and_does_not_look_at_the_images(folder):
    def drawn(seed, items=2):
        return read(config(folder, items=items), seed).questions["question_id"].tolist()

    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(8)}) > 1
    assert drawn(0, 99) == ["vqa/1", "vqa/2", "vqa/3", "vqa/4"]
    (folder / IMAGE_FOLDER / image_name(42)).unlink()
    kept = [read(config(folder, items=2, strict=False), seed).questions["question_id"].tolist() for seed in range(8)]
    assert {name for names in kept for name in names} == {"vqa/3", "vqa/4"}
    assert min(len(names) for names in kept) < 2


def test_images_may_lie_elsewhere_with_or_without_their_folder(folder, tmp_path):
    shutil.move(folder / IMAGE_FOLDER, tmp_path / "coco" / IMAGE_FOLDER)
    for images in (tmp_path / "coco", tmp_path / "coco" / IMAGE_FOLDER):
        tables = read(config(folder, images=str(images)), 0)
        assert tables.image_folder == tmp_path / "coco" / IMAGE_FOLDER
        assert len(tables.questions) == 4


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("", "no such folder"),
        (QUESTION_FILE, f"has no file {QUESTION_FILE}"),
        (ANNOTATION_FILE, f"has no file {ANNOTATION_FILE}"),
        (IMAGE_FOLDER, "has no images COCO_val2014_"),
    ],
)
def test_missing_files_get_one_line_that_says_how_to_get_them(folder, gone, message):
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=message) as caught:
        read(config(folder), 0)
    assert "docs/data.md" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_unreadable_image_costs_each_of_its_questions_one_problem(folder):
    (folder / IMAGE_FOLDER / image_name(42)).unlink()
    (folder / IMAGE_FOLDER / image_name(73)).write_bytes(b"no image")
    tables = read(config(folder, strict=False), 0)
    assert tables.questions.empty
    assert tables.images.empty
    problems = broken(tables)
    assert len(problems) == 4
    assert problems["problem"].str.contains("which is not in").sum() == 2
    assert problems["problem"].str.contains("cannot be read as an image").sum() == 2
    with pytest.raises(UserError, match="question 1: names image COCO_val2014_000000000042.jpg, which is not in"):
        read(config(folder), 0)


BROKEN_QUESTION = {
    "no text": {"question": " "},
    "text is a number": {"question": 7},
    "image is text": {"image_id": "../../etc/passwd"},
    "negative image": {"image_id": -42},
    "image of too many digits": {"image_id": 10**12},
    "image is nan": {"image_id": float("nan")},
    "image is true": {"image_id": True},
    "another image than its annotation": {"image_id": 73},
    "twice": {"question_id": 2},
}
BROKEN_ANNOTATION = {
    "nine answers": {"answers": [{"answer": "x"}] * 9},
    "answers are words": {"answers": ["black"] * 10},
    "an answer is a number": {"answers": [{"answer": 3}] * 10},
    "no majority": {"multiple_choice_answer": ""},
    "type is missing": {"question_type": None},
    "twice": {"question_id": 2},
}


@pytest.mark.parametrize("case", BROKEN_QUESTION)
def test_a_broken_question_is_counted_or_stops_a_strict_run(tmp_path, case):
    rows = question_rows()
    rows[0] |= BROKEN_QUESTION[case]
    folder = write_folder(tmp_path, questions=rows)
    tables = read(config(folder, strict=False), 0)
    assert sorted(tables.questions["question_id"]) == ["vqa/2", "vqa/3", "vqa/4"]
    assert (broken(tables)["file"] == QUESTION_FILE).sum() == 1
    with pytest.raises(UserError, match=QUESTION_FILE) as stopped:
        read(config(folder), 0)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("case", BROKEN_ANNOTATION)
def test_a_broken_annotation_is_counted_and_its_question_too(tmp_path, case):
    rows = annotation_rows()
    rows[0] |= BROKEN_ANNOTATION[case]
    folder = write_folder(tmp_path, annotations=rows)
    tables = read(config(folder, strict=False), 0)
    assert "vqa/1" not in set(tables.questions["question_id"])
    problems = broken(tables)
    assert (problems["file"] == ANNOTATION_FILE).sum() == 1
    assert "has no usable annotation" in problems[problems["file"] == QUESTION_FILE].iloc[0]["problem"]
    with pytest.raises(UserError, match=ANNOTATION_FILE):
        read(config(folder), 0)


def test_long_questions_and_questions_with_html_are_kept_as_text(tmp_path):
    rows = question_rows()
    rows[0]["question"] = "What color is the <b onclick='x'>cat</b>?"
    rows[1]["question"] = "What color is the " + "very " * 2000 + "big cat?"
    items = read_items(write_folder(tmp_path, questions=rows), Problems("vqa", strict=True)).set_index("question_id")
    assert items.loc[1, "question"] == rows[0]["question"]
    assert items.loc[2, "question"] == rows[1]["question"]
    assert items.loc[2, "rule"] == ""


def test_answers_that_the_evaluation_takes_for_one_are_one_candidate_with_all_their_votes():
    given = ["2,000"] * 3 + ["2000"] * 4 + ["a.m."] * 2 + ["AM"] + ["two"] + ["2"] + ["p.m."] * 5 + ["?", "the"]
    items = pd.DataFrame({"question_type": ["what"], "answers": [given]})
    assert frequent_answers(items) == {"what": ["2000", "p.m.", "a.m.", "2"]}


@given(st.lists(st.sampled_from(["2,000", "2000", "a.m.", "am", "two", "2", "t-shirt", "t shirt", "x", "?"])))
def test_candidates_are_distinct_to_the_evaluation_and_no_vote_is_lost(answers):
    found = distinct_answers(answers)
    keys = [normalise_answer(name) for name, _ in found]
    assert len(set(keys)) == len(keys) and "" not in keys
    assert sum(votes for _, votes in found) == sum(answer != "?" for answer in answers)
    assert {name for name, _ in found} <= {answer.lower() for answer in answers}


def test_given_candidates_and_statements_replace_the_frequent_ones(tmp_path):
    own = {"question_id": 1, "candidates": ["black", "white"], "statements": ["A black cat.", "A white cat."]}
    rows = read(config(write_folder(tmp_path, candidates=[own])), 0).questions.set_index("question_id")
    assert rows.loc["vqa/1", "candidates"] == ["black", "white"]
    assert rows.loc["vqa/1", "statements"] == ["A black cat.", "A white cat."]
    assert rows.loc["vqa/2", "candidates"] == ["brown", "black", "dark", "gray", "tan"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"statements": ["A black cat."]}, "1 statements for 2 candidates"),
        ({"candidates": ["black"], "statements": ["A black cat."]}, "at least 2 items"),
        ({"candidates": ["2,000", "2000"], "statements": ["a", "b"]}, "2 of the candidates for one answer, '2000'"),
        ({"question_id": 77}, f"question 77: is not usable in {QUESTION_FILE}"),
    ],
)
def test_broken_candidates_are_counted_and_the_frequent_answers_stay(tmp_path, change, message):
    own = {"question_id": 1, "candidates": ["black", "white"], "statements": ["A black cat.", "A white cat."]} | change
    folder = write_folder(tmp_path, candidates=[own])
    tables = read(config(folder, strict=False), 0)
    assert tables.questions.set_index("question_id").loc["vqa/1", "candidates"][0] == "brown"
    assert len(broken(tables)) == 1
    with pytest.raises(UserError, match=message):
        read(config(folder), 0)


@given(st.data())
def test_mutated_files_give_one_line_or_counted_problems(tmp_path_factory, data):
    """Per file: entries in = questions read + problems of that file."""
    questions, annotations = question_rows(), annotation_rows()
    for rows in (questions, annotations):
        for row in rows:
            if data.draw(st.booleans()):
                field = data.draw(st.sampled_from(sorted(row)))
                junk = st.sampled_from([None, -1, 1, 2, 1.5, float("nan"), "", "../x", "<i>?</i>" * 1500, [], {}, [{}]])
                value = data.draw(st.one_of(junk, st.just("drop")))
                row.pop(field) if value == "drop" else row.update({field: value})
    folder = write_folder(tmp_path_factory.mktemp("vqa"), questions, annotations)
    cut = data.draw(st.none() | st.integers(0, 300))
    if cut is not None:
        path = folder / data.draw(st.sampled_from([QUESTION_FILE, ANNOTATION_FILE]))
        path.write_bytes(path.read_bytes()[:cut])
    try:
        problems = Problems("vqa", strict=False)
        items = read_items(folder, problems)
        with redirect_stderr(StringIO()):
            tables = read(config(folder, strict=False), 0)
    except UserError as error:
        assert cut is not None
        assert "\n" not in str(error)
        assert "v2_" in str(error)
        return
    found = problems.frame()["file"].value_counts()
    for file, rows in ((QUESTION_FILE, questions), (ANNOTATION_FILE, annotations)):
        dropped = found.get(file, 0)
        also = len(items) + (0 if file == QUESTION_FILE else mismatched(problems))
        assert len(rows) == also + dropped
    assert len(tables.questions) <= (items["rule"] != "").sum()
    QUESTIONS.check(tables.questions)


def mismatched(problems):
    """Questions whose annotation is whole but names another image: counted at the question."""
    return problems.frame()["problem"].str.contains("but its annotation about").sum()


def test_questions_of_the_embedded_world_survive_the_published_form(tmp_path):
    rng = np.random.default_rng(0)
    scenes = [scene for scene, _ in sample_scenes(rng, 24)]
    shown = [Shown(f"test-{number:05}", scene) for number, scene in enumerate(scenes)]
    rows = pd.DataFrame(questions(shown, "test", 20, rng))
    assert set(rows["kind"]) == {"relation", "attribute"}
    files = {}
    for item in shown:
        files[item.image_id] = tmp_path / f"{item.image_id}.png"
        draw_scene(item.scene).save(files[item.image_id])
    numbers = write_published(rows, tmp_path / "vqa")
    (tmp_path / "vqa" / "val2014").mkdir()
    for image_id, number in numbers.items():
        with Image.open(files[image_id]) as picture:
            picture.convert("RGB").save(tmp_path / "vqa" / "val2014" / image_name(number), quality=95, subsampling=0)
    tables = read(config(tmp_path / "vqa"), 0)
    same = ["question", "kind", "answers", "candidates", "statements"]
    pd.testing.assert_frame_equal(tables.questions[same], rows[same])
    order = dict(zip(rows["image_id"], tables.questions["image_id"], strict=True))
    assert len(set(order.values())) == len(order)
    paths = tables.images.set_index("image_id")["path"]
    for own, image_id in order.items():
        with Image.open(files[own]) as before, Image.open(tables.image_folder / paths[image_id]) as after:
            difference = np.abs(np.asarray(before.convert("RGB"), float) - np.asarray(after, float))
        assert difference.mean() < 4


def test_the_note_says_what_a_user_must_know():
    assert QUESTION_FILE in NOTE.files
    assert "visualqa.org" in NOTE.obtain
    assert "CC BY 4.0" in NOTE.licence
