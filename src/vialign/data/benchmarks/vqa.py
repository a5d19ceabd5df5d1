"""VQA v2 validation questions (Goyal et al. 2017, arXiv:1612.00837), as published on visualqa.org.

The folder holds the two JSON files; the images are those of COCO val2014. Only questions that `vqa_rules.RULES` takes
become QUESTIONS. Their candidates are the answers that people give most often to questions of the same type in the
file: the true answer is never added, so some questions cannot be answered, and how many is noted. A question that by
its form can only be answered yes or no has these two candidates. A file `vialign_candidates.json` beside the questions
may give a question candidates and statements of its own; the embedded world keeps its exact statements that way.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import pandas as pd
from pydantic import Field, StringConstraints, model_validator

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems, image_table
from vialign.data.benchmarks.vqa_answers import distinct_answers, normalise_answer
from vialign.data.benchmarks.vqa_rules import asks_yes_or_no, find_rule, plain, sentence
from vialign.data.datasets.splits import at_most
from vialign.data.published_files import (
    Record,
    SourceNote,
    find_file,
    image_sizes,
    json_list,
    numbered,
    photograph_folders,
    read_json,
    records,
    require_file,
    require_folder,
)
from vialign.errors import UserError
from vialign.files.artifacts import write_text
from vialign.progress import track
from vialign.tables.data import CAPTIONS, QUESTIONS

SPLIT = "vqa"
QUESTION_FILE = "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATION_FILE = "v2_mscoco_val2014_annotations.json"
CANDIDATE_FILE = "vialign_candidates.json"
IMAGE_FOLDER = "val2014"
CANDIDATES = 10
"""Candidate answers of a question type."""
PUBLISHED_QUESTIONS = 214_354
"""Validation questions, by visualqa.org."""

NOTE = SourceNote(
    title="VQA v2, validation questions about relations and attributes",
    licence="annotations CC BY 4.0; the photographs belong to their authors (COCO terms of use)",
    obtain="visualqa.org/download.html: validation questions and annotations v2.0, and the COCO 2014 validation images",
    files=(QUESTION_FILE, ANNOTATION_FILE, f"{IMAGE_FOLDER}/COCO_val2014_<12 digits>.jpg"),
    measures="whether questions about relations and attributes are answered; chance is what a random candidate gets",
)
"""Without expected counts: what is published is the number of all questions, and only a part of them is used."""

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Number = Annotated[int, Field(strict=True, ge=0, lt=10**12)]


class Entry(Record):
    """What an entry of any of the files has."""

    question_id: _Number


AnyEntry = TypeVar("AnyEntry", bound=Entry)


class Question(Entry):
    """One entry of `questions`."""

    image_id: _Number
    question: _Text


class Answer(Record):
    """What one person answered."""

    answer: str


class Annotation(Entry):
    """One entry of `annotations`."""

    image_id: _Number
    question_type: _Text
    multiple_choice_answer: _Text
    """What most people answered."""
    answers: Annotated[list[Answer], Field(min_length=10, max_length=10)]


class Candidates(Entry):
    """One entry of the optional file of candidates."""

    candidates: Annotated[list[_Text], Field(min_length=2)]
    statements: list[_Text]

    @model_validator(mode="after")
    def one_statement_a_candidate(self) -> "Candidates":
        """Candidate j is ranked by statement j."""
        if len(self.statements) != len(self.candidates):
            raise ValueError(f"{len(self.statements)} statements for {len(self.candidates)} candidates")
        found = Counter(map(normalise_answer, self.candidates)).most_common(1)[0]
        if found[1] > 1:
            raise ValueError(f"the evaluation takes {found[1]} of the candidates for one answer, {found[0]!r}")
        return self


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """The questions of the subset whose images are there; at most `config.items`, drawn by seed before looking.

    Raises UserError when files or all images are missing, and at the first broken row when `config.strict`.
    """
    folder = require_folder(config.folder, "vqa", "data.benchmarks.vqa.folder")
    problems = Problems("vqa", config.strict, "data.benchmarks.vqa.strict", config.tolerance)
    everything = read_items(folder, problems)
    given = read_candidates(folder, set(everything["question_id"]), problems)
    items = everything[everything["rule"] != ""]
    _note_subset(everything, items, problems)
    items = items[items["question_id"].isin(_drawn(items["question_id"], config.items, seed))]
    image_folder = _image_folder(config)
    sizes = image_sizes(image_folder, items["image"].unique().tolist(), problems)
    questions = question_table(items, sizes, given, frequent_answers(everything), problems)
    problems.report()
    used = set(questions["image_id"])
    images = [
        (_image_id(name), SPLIT, name, *size)
        for name, size in sizes.items()
        if _image_id(name) in used and not isinstance(size, str)
    ]
    return DatasetTables(
        images=image_table(images),
        captions=CAPTIONS.empty(),
        questions=questions,
        problems=problems.frame(),
        image_folder=image_folder,
    )


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """Every well-formed question of the two files, in the subset or not.

    Columns: question_id (int), image (file name), question, question_type, answer (of most people), answers (ten), rule
    and kind (of `vqa_rules`; both empty outside the subset).
    """
    questions = _by_question(folder, QUESTION_FILE, "questions", Question, problems)
    annotations = _by_question(folder, ANNOTATION_FILE, "annotations", Annotation, problems)
    rows = []
    for number, question in track(questions.items(), "choose questions", total=len(questions)):
        annotation = annotations.get(number)
        if annotation is None:
            reason = f"has no usable annotation in {ANNOTATION_FILE}"
            problems.add("questions", QUESTION_FILE, f"question {number}", reason)
            continue
        if annotation.image_id != question.image_id:
            reason = f"is about image {question.image_id}, but its annotation about image {annotation.image_id}"
            problems.add("questions", QUESTION_FILE, f"question {number}", reason)
            continue
        rule = find_rule(question.question)
        rows.append(
            {
                "question_id": number,
                "image": image_name(question.image_id),
                "question": question.question,
                "question_type": annotation.question_type,
                "answer": annotation.multiple_choice_answer,
                "answers": [answer.answer for answer in annotation.answers],
                "rule": rule.name if rule else "",
                "kind": rule.kind if rule else "",
            }
        )
    for number in annotations.keys() - questions.keys():
        problems.add("annotations", ANNOTATION_FILE, f"question {number}", f"is not usable in {QUESTION_FILE}")
    columns = ["question_id", "image", "question", "question_type", "answer", "answers", "rule", "kind"]
    return pd.DataFrame(rows, columns=columns)


def frequent_answers(items: pd.DataFrame, count: int = CANDIDATES) -> dict[str, list[str]]:
    """The answers that people give most often to each question type, most frequent first, ties by the alphabet.

    `items` as `read_items` gives them; each of the ten answers of a question counts. Answers that the evaluation takes
    for one (`normalise_answer`) are one candidate, spelled as it is most often given, and their votes are added.
    """
    given: dict[str, list[str]] = {}
    for question_type, answers in zip(items["question_type"], items["answers"], strict=True):
        given.setdefault(question_type, []).extend(answers)
    return {
        question_type: [answer for answer, _ in distinct_answers(answers)[:count]]
        for question_type, answers in given.items()
    }


def image_name(number: int) -> str:
    """File name of a COCO val2014 photograph."""
    return f"COCO_val2014_{number:012d}.jpg"


def write_published(questions: pd.DataFrame, folder: str | Path) -> dict[str, int]:
    """Write QUESTIONS as VQA v2 publishes its own: two JSON files, and the file of candidates.

    Questions and images are numbered from 1 in their order, as their names here are no numbers; the number of each
    image id is returned.
    """
    target = Path(folder)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(questions["image_id"]), start=1)}
    entries: dict[str, list[dict[str, object]]] = {"questions": [], "annotations": [], "candidates": []}
    for number, row in enumerate(questions.to_dict("records"), start=1):
        same = {"question_id": number, "image_id": numbers[row["image_id"]]}
        answers = list(row["answers"])
        most = Counter(answers).most_common(1)[0][0]
        entries["questions"].append({**same, "question": row["question"]})
        entries["annotations"].append(
            {
                **same,
                "question_type": " ".join(plain(row["question"]).split()[:3]),
                "answer_type": "yes/no" if most in ("yes", "no") else "number" if most.isdigit() else "other",
                "multiple_choice_answer": most,
                "answers": [
                    {"answer": answer, "answer_confidence": "yes", "answer_id": place}
                    for place, answer in enumerate(answers, start=1)
                ],
            }
        )
        own = {"candidates": list(row["candidates"]), "statements": list(row["statements"])}
        entries["candidates"].append({"question_id": number, **own})
    about = {"data_type": "mscoco", "data_subtype": IMAGE_FOLDER, "info": {}, "license": {}}
    asked = {**about, "task_type": "Open-Ended", "questions": entries["questions"]}
    write_text(json.dumps(asked), target / QUESTION_FILE)
    write_text(json.dumps({**about, "annotations": entries["annotations"]}), target / ANNOTATION_FILE)
    write_text(json.dumps({"candidates": entries["candidates"]}), target / CANDIDATE_FILE)
    return numbers


def _by_question(folder: Path, file: str, key: str, model: type[AnyEntry], problems: Problems) -> dict[int, AnyEntry]:
    """The well-formed entries of a file by their question; a question's second entry is a problem."""
    path = require_file(folder, (file,), "vqa")
    rows = json_list(read_json(path, "vqa"), path, "vqa", key)
    entries: dict[int, AnyEntry] = {}
    checked = records(track(numbered(rows, key), f"check {key}", total=len(rows)), model, key, file, problems)
    for label, entry in checked:
        if entry.question_id in entries:
            problems.add(key, file, label, f"question {entry.question_id} appears twice")
        else:
            entries[entry.question_id] = entry
    return entries


def read_candidates(folder: Path, known: set[int], problems: Problems) -> dict[int, Candidates]:
    """The candidates that the optional file gives to questions; empty without the file."""
    if find_file(folder, (CANDIDATE_FILE,)) is None:
        return {}
    entries = _by_question(folder, CANDIDATE_FILE, "candidates", Candidates, problems)
    for number in entries.keys() - known:
        problems.add("candidates", CANDIDATE_FILE, f"question {number}", f"is not usable in {QUESTION_FILE}")
    return {number: entry for number, entry in entries.items() if number in known}


def question_table(
    items: pd.DataFrame,
    sizes: Mapping[str, tuple[int, int] | str],
    given: Mapping[int, Candidates],
    frequent: Mapping[str, list[str]],
    problems: Problems,
) -> pd.DataFrame:
    """QUESTIONS of the items (rows of `read_items`) whose image is there, with their candidates.

    `sizes` gives, by file name, width and height of the image or what is wrong with it; `given` the candidates of the
    optional file; `frequent` the frequent answers by question type. The share of questions without a right candidate
    is noted.
    """
    rows, absent = [], 0
    problems.saw("chosen questions", len(items))
    for item in track(cast(Iterable[Any], items.itertuples(index=False)), "state candidates", total=len(items)):
        candidates, statements = _candidates(item, given.get(item.question_id), frequent)
        size = sizes[item.image]
        if isinstance(size, str) or len(candidates) < 2:
            reason = size if isinstance(size, str) else f"its type {item.question_type!r} has fewer than two answers"
            problems.add("chosen questions", QUESTION_FILE, f"question {item.question_id}", reason)
            continue
        name = f"vqa/{item.question_id}"
        image = _image_id(item.image)
        rows.append((name, SPLIT, image, item.question, item.kind, item.answers, candidates, statements))
        absent += normalise_answer(item.answer) not in {normalise_answer(candidate) for candidate in candidates}
    if rows:
        share = f"{absent} of {len(rows)} questions ({absent / len(rows):.1%})"
        problems.note(ANNOTATION_FILE, "", f"{share} have a majority answer that is not among their candidates")
    return pd.DataFrame(rows, columns=list(QUESTIONS.columns))


def _candidates(item: Any, given: Candidates | None, frequent: Mapping[str, list[str]]) -> tuple[list[str], list[str]]:
    """Candidate answers of an item (a row of `read_items`), and a statement each."""
    if given is not None:
        return given.candidates, given.statements
    answers = ["yes", "no"] if asks_yes_or_no(item.question) else frequent[item.question_type]
    return answers, [sentence(item.question, answer).text for answer in answers]


def _note_subset(everything: pd.DataFrame, items: pd.DataFrame, problems: Problems) -> None:
    rules = ", ".join(f"{rule} {count}" for rule, count in items["rule"].value_counts().items())
    found = f"{len(items)} of {len(everything)} questions (published: {PUBLISHED_QUESTIONS}) are in the subset"
    problems.note(QUESTION_FILE, "", f"{found}: {rules}" if rules else found)


def _drawn(numbers: Iterable[int], limit: int | None, seed: int) -> set[int]:
    return {int(name) for name in at_most([f"{number:012d}" for number in numbers], limit, seed, "vqa", SPLIT)}


def _image_folder(config: BenchmarkConfig) -> Path:
    root = Path(config.folder if config.images is None else config.images)
    below = photograph_folders(root, [IMAGE_FOLDER]) if root.is_dir() else []
    for folder in (*(root / name for name in below), root):
        if folder.is_dir() and next(folder.glob("COCO_val2014_*.jpg"), None) is not None:
            return folder
    raise UserError(
        f"vqa: {root}: has no images COCO_val2014_<12 digits>.jpg, nor has its folder {IMAGE_FOLDER}; "
        "get the COCO 2014 validation images (docs/data.md) and set data.benchmarks.vqa.images to their folder"
    )


def _image_id(name: str) -> str:
    return f"vqa/{name.removesuffix('.jpg')}"
