"""What the page says in words: numbers, the answer, the suggestions, the shares of failures, the colours."""

import re
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.report.fake_results import PROVENANCE, fake_config, write_fake_results
from vialign.analysis.attribution.names import DRIVER
from vialign.files.artifacts import write_table
from vialign.report.evidence import PLACES, read_evidence
from vialign.report.numbers import MINUS, shape
from vialign.report.review import suggestions
from vialign.report.sections.answers import answers
from vialign.report.sections.blind import solved_blind
from vialign.report.sections.signal import signal
from vialign.report.style import PALETTE
from vialign.report.summary import badges, headline
from vialign.report.tables import Show, render_table


@given(st.floats(-1e6, 1e6), st.sampled_from(["fraction", "percent", "points", "number", "count"]))
def test_shown_numbers_are_within_half_of_their_last_digit(value, style):
    text = shape(value, style).replace(MINUS, "-").replace(",", "")
    scale = 100 if style in ("percent", "points") else 1
    mantissa, _, exponent = text.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    assert abs(float(text) - scale * value) <= 0.50001 * unit + 1e-9 * abs(value)


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (0.0004, "p", "<0.001"),
        (0.035, "points", "+3.5"),
        (-0.012, "points", f"{MINUS}1.2"),
        (-0.0001, "points", "+0.0"),
        (-0.0001, "fraction", "0.000"),
        (-0.0, "count", "0"),
        (float("nan"), "fraction", "\N{EN DASH}"),
        (None, "text", "\N{EN DASH}"),
        (True, "verdict", "yes"),
        ("abcdefghijklmnop", "digest", "abcdefghij"),
        (0.5, "plain", "0.5"),
        (3.0, "plain", "3"),
    ],
)
def test_shapes(value, style, text):
    assert shape(value, style) == text
    with pytest.raises(ValueError, match="unknown number style"):
        shape(0.5, "roman")


def test_a_table_is_traced_or_says_how_it_was_counted():
    frame = pd.DataFrame({"split": ["test"] * 5, "images": range(5)})
    columns = [Show("split", "Split"), Show("images", "Images", "count")]
    with pytest.raises(ValueError, match="traced to a file or said to be derived"):
        render_table(frame, None, source="data/images.parquet", title="Rows", columns=columns)
    html = render_table(frame, None, source="x.parquet", title="Rows", columns=columns, derived="counted", limit=3)
    assert html.count("<tr>") == 4 and re.search(r'<data value="2"[^>]*>2</data> further rows', html)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_fake_results(tmp_path_factory.mktemp("words"))


def said(evidence, place, config=None):
    """The sentences of an answer of the summary: 0 signal, 1 LoRA, 2 carriers, 3 cost, 4 failures, 5 repeating."""
    return [str(sentence) for sentence in answers(evidence, config or fake_config())[place].said]


def rewrite(folder, name, change):
    """The folder's table, changed; returns what puts it back."""
    path, table = PLACES[name]
    old = pd.read_parquet(folder / path)
    write_table(change(old.copy()), table, folder / path, PROVENANCE)
    return lambda: write_table(old, table, folder / path, PROVENANCE)


def differences(frozen, lora, p_frozen=0.001, p_lora=0.001, combining=None):
    """Every difference against each reference; `combining` stands in for both where it is not about retrieval."""

    def change(frame):
        against = frame["reference"] == "frozen"
        frame = frame.assign(difference=np.where(against, frozen, lora), p_holm=np.where(against, p_frozen, p_lora))
        if combining is None:
            return frame
        retrieval = frame["benchmark"].str.endswith(("text_to_image", "image_to_text"))
        difference, p = combining
        return frame.assign(
            difference=frame["difference"].where(retrieval, difference), p_holm=frame["p_holm"].where(retrieval, p)
        )

    return change


def retrieval_only(frame):
    kept = frame[frame["benchmark"].str.endswith(("text_to_image", "image_to_text"))]
    return differences(0.04, 0.02)(kept)


def one_direction(frame):
    """Significantly better than the frozen backbone from text to image only."""
    frame = differences(0.04, 0.02, combining=GAIN)(frame)
    other = frame["benchmark"].str.endswith("image_to_text")
    return frame.assign(p_holm=frame["p_holm"].mask(other, 0.4))


GAIN, LOSS, NOTHING = (0.1, 0.001), (-0.1, 0.001), (0.01, 0.8)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (differences(0.04, 0.02), "Yes, on this data: the modules beat both .* combine and in retrieval"),
        (
            differences(0.04, -0.02, combining=GAIN),
            "Partly, .* combine; in retrieval .*, and LoRA beats them",
        ),
        (differences(0.04, 0.02, p_lora=0.4, combining=GAIN), "Partly, .* combine; in retrieval .* but not LoRA"),
        (differences(0.04, 0.02, p_frozen=0.4, combining=GAIN), "Partly, .* combine; no gain in recall at rank one"),
        (one_direction, "Partly, .* combine; after correction .* in one direction only"),
        (differences(-0.04, -0.02, combining=GAIN), "Partly, .* combine; they make retrieval worse"),
        (differences(0.04, 0.02, combining=NOTHING), "Partly, .* in retrieval; on how concepts combine no gain"),
        (differences(0.04, 0.02, combining=LOSS), "Partly, .* in retrieval; on how concepts combine they are worse"),
        (retrieval_only, "Yes, on this data: the modules beat both .* in retrieval"),
        (
            differences(0.04, 0.02, p_lora=0.4, combining=NOTHING),
            "Partly, on this data: in retrieval the modules beat .* but not LoRA",
        ),
        (differences(0.04, 0.02, p_frozen=0.4, combining=NOTHING), "No, on this data: no gain"),
        (differences(-0.04, -0.06), "No: on this data the modules make retrieval worse"),
        (lambda frame: frame[frame["reference"] == "frozen"], "Not known yet"),
    ],
)
def test_the_answer_follows_the_tables(folder, change, expected):
    undo = rewrite(folder, "comparisons", change)
    try:
        assert re.match(expected, headline(read_evidence(folder, fake_config()), fake_config()))
    finally:
        undo()


def moved(name, to):
    """Comparisons of a run whose items `name` came from a benchmark of its own, and that asks nothing else."""

    def change(frame):
        frame = differences(0.04, 0.02, combining=GAIN)(frame)
        retrieval = frame["benchmark"].str.endswith(("text_to_image", "image_to_text"))
        own = frame[frame["benchmark"] == f"test/{name}"].assign(benchmark=to)
        return pd.concat([frame[retrieval], own], ignore_index=True)

    return change


@pytest.mark.parametrize(
    ("name", "to", "asked", "combines"),
    [
        ("winoground", "winoground/winoground", {"winoground": {"folder": "w"}}, True),
        ("aro_relation", "aro/aro_relation", {"aro": {"folder": "a"}}, True),
        ("aro_relation", "aro/aro_relation", {"winoground": {"folder": "w"}}, False),
        ("vqa", "vqa/vqa", {"vqa": {"folder": "v"}}, False),
        ("aro_relation", "test_domain/aro_relation", {}, False),
    ],
)
def test_a_benchmark_of_its_own_counts_as_the_forms_of_the_first_test_split_do(folder, name, to, asked, combines):
    """With published data every benchmark but retrieval has a split of its own, which the answer must not pass over."""
    undo = rewrite(folder, "comparisons", moved(name, to))
    try:
        config = fake_config(data={"benchmarks": asked})
        found = headline(read_evidence(folder, config), config)
    finally:
        undo()
    assert ("on how concepts combine and in retrieval" in found) == combines
    assert found.startswith("Yes, on this data: the modules beat both")


@pytest.mark.parametrize("low", [0.0, 0.9])
def test_a_gain_that_ends_at_guessing_is_none(folder, low):
    """A scorer that prefers one caption whatever the image is below chance, and noise alone brings it up to there."""
    changes = {
        "comparisons": differences(0.04, 0.02, p_lora=0.4, combining=GAIN),
        # What is compared is the mean over items; another mean says nothing of it.
        "results": lambda frame: pd.concat(
            [frame.assign(low=low, value=0.95, high=1.0), frame.assign(low=0.0, convention="macro")]
        ),
        # The made-up run says of vqa not what guessing gives.
        "blind": lambda frame: pd.concat([frame, frame.head(1).assign(benchmark="test/vqa", chance=0.2, solved=False)]),
    }
    undo = [rewrite(folder, name, change) for name, change in changes.items()]
    try:
        found = headline(read_evidence(folder, fake_config()), fake_config())
    finally:
        for back in undo:
            back()
    assert ("but nowhere above guessing" in found) == (low == 0.0)
    assert ("the modules beat both the frozen backbone and LoRA on how concepts combine" in found) == (low == 0.9)


def test_a_broken_budget_is_part_of_the_answer(folder):
    undo = rewrite(folder, "gate_budget", lambda frame: frame.assign(met=False, action="warn"))
    try:
        evidence = read_evidence(folder, fake_config())
        assert "outside the efficiency budget" in headline(evidence, fake_config())
        assert "The efficiency budget is broken" in said(evidence, 3)[0]
        assert [badge.action for badge in badges(evidence)] == ["go", "warn", "go"]
    finally:
        undo()


def test_an_undecided_budget_is_said_and_called_neither_kept_nor_broken(folder):
    def open_limit(frame):
        return frame.assign(met=False, undecided=True, action="go", reason="undecided: the machine is too restless")

    undo = rewrite(folder, "gate_budget", open_limit)
    try:
        evidence = read_evidence(folder, fake_config())
        assert "this machine could not tell" in headline(evidence, fake_config())
        costs = " ".join(str(line) for line in said(evidence, 3))
        assert "Undecided" in costs and "too restless" in costs
        assert "No more than allowed" not in costs and "More than allowed" not in costs
        assert [badge.words for badge in badges(evidence)][1] == "not stopped, in part undecided"
    finally:
        undo()


@pytest.mark.parametrize("broken", [False, True])
def test_a_strict_stop_at_undecided_limits_is_not_called_broken(tmp_path, broken):
    folder = write_fake_results(tmp_path, stop="budget")

    def stopped(frame):
        required = frame["required"].to_numpy()
        return frame.assign(
            met=~required, undecided=required & (not broken), action="stop", reason="undecided: too restless"
        )

    rewrite(folder, "gate_budget", stopped)
    evidence = read_evidence(folder, fake_config())
    assert evidence.stopped == "budget"
    told, costs = headline(evidence, fake_config()), " ".join(str(line) for line in said(evidence, 3))
    assert ("costs more than the efficiency budget allows" in told) == broken
    assert ("could not tell whether the method is inside the efficiency budget" in told) != broken
    assert ("More than allowed" in costs) == broken and ("Undecided" in costs) != broken


def test_a_time_that_the_clock_cannot_tell_is_decided_by_what_is_counted_and_still_told(folder):
    def open_time(frame):
        row = frame.iloc[[0]].assign(required=True)
        time = row.assign(
            criterion="vialign on ViT-B-32: inference_overhead stays under 0.1 (share)",
            met=False,
            undecided=True,
            reason="undecided: the machine is too restless",
        )
        counted = row.assign(
            criterion="vialign on ViT-B-32: inference_operations_overhead stays under 0.1 (share)", met=True
        )
        rows = [time, counted]
        rows += [part.assign(criterion=part["criterion"].str.replace("inference", "training")) for part in rows]
        return pd.concat(rows, ignore_index=True).assign(action="go")

    undo = rewrite(folder, "gate_budget", open_time)
    try:
        evidence = read_evidence(folder, fake_config())
        assert "efficiency budget" not in headline(evidence, fake_config())
        costs = " ".join(str(line) for line in said(evidence, 3))
        assert "No more than allowed" in costs and "could not tell" in costs and "too restless" in costs
        assert "inference_overhead" in costs and "training_overhead" in costs  # every one of them, not the first
        assert [badge.words for badge in badges(evidence)][1] == "passed"
    finally:
        undo()


@pytest.mark.parametrize(
    ("holds", "summed", "answered"),
    [
        (
            False,
            "The signal does not drive it: without C no loss could be shown",
            "C carries nothing of it that could be shown",
        ),
        (True, "The signal drives it: no constant and no shuffle in C's place does as well", "C carries some of it"),
    ],
)
def test_the_signal_is_said_to_drive_the_gain_only_where_it_beats_a_constant_and_a_shuffle(
    folder, holds, summed, answered
):
    undo = rewrite(
        folder, "carriers", lambda frame: frame.assign(holds=frame["holds"] | (holds & frame["claim"].eq(DRIVER)))
    )
    try:
        evidence = read_evidence(folder, fake_config())
        assert summed in headline(evidence, fake_config())
        assert "the geometry of two prototypes" in headline(evidence, fake_config())
        carried = " ".join(said(evidence, 2))
        assert answered in carried and "84.0" in carried
    finally:
        undo()


@pytest.mark.parametrize(
    ("driver", "summed"),
    [
        (False, "no loss could be shown. Nothing else that was replaced is shown to carry it either."),
        (True, "no shuffle in C's place does as well."),
        (None, "Nothing that was replaced is shown to carry the gain."),
    ],
)
def test_a_gain_of_which_nothing_carries_a_part_is_said_to_need_nothing_that_was_replaced(folder, driver, summed):
    def alone(frame):
        own = frame.assign(holds=False)
        own.loc[own["claim"] == DRIVER, "holds"] = bool(driver)
        return own if driver is not None else own[own["claim"] != DRIVER]

    undo = rewrite(folder, "carriers", alone)
    try:
        assert headline(read_evidence(folder, fake_config()), fake_config()).endswith(summed)
    finally:
        undo()


def test_the_challenge_is_held_against_its_threshold(folder):
    evidence = read_evidence(folder, fake_config())

    def challenge(**report):
        return next(text for text in said(evidence, 1, fake_config(report=report)) if "challenge" in text)

    assert "is not reached" in challenge(challenge=0.035) and "is reached" in challenge(challenge=0.03)


def suggested(folder, **sections):
    config = fake_config(**sections)
    return [str(item.text) for item in suggestions(read_evidence(folder, config), config)]


def test_suggestions_come_from_the_evidence_and_strongest_first(tmp_path):
    folder = write_fake_results(tmp_path, stop="signal")
    plain = suggested(folder)
    assert not any("backbone lacks them" in text for text in plain)
    assert not any("no better than the floor" in text for text in plain)

    def guessing(frame):
        return frame.assign(accuracy=frame["chance"], low=frame["chance"] - 0.02, high=frame["chance"] + 0.02)

    rewrite(folder, "probe", guessing)
    assert "backbone lacks them" in suggested(folder)[0]

    rewrite(folder, "visual_quality", lambda frame: frame.assign(value=0.3, low=0.28, high=0.32))
    assert any("no better than the floor" in text for text in suggested(folder))

    control = suggested(folder, signal={"shuffle_prototypes": True})
    assert "negative control" in control[0] and len(control) == len(suggested(folder)) + 1


def test_a_near_miss_asks_for_more_pairs_only_when_nothing_passed(tmp_path):
    folder = write_fake_results(tmp_path, stop="signal")
    assert not any("signal.pairs" in text for text in suggested(folder))
    rewrite(folder, "diagnosis", lambda frame: frame.assign(auc=0.52, low=0.49, high=0.55))
    assert any("signal.pairs" in text for text in suggested(folder))


def test_an_undecided_limit_asks_for_rounds_and_a_broken_one_for_smaller_modules(tmp_path):
    folder = write_fake_results(tmp_path, stop="budget")
    assert all("shrink" in text for text in suggested(folder))
    rewrite(folder, "budget", lambda frame: frame.assign(outcome=frame["outcome"].replace("broken", "undecided")))
    assert all("budget.rounds" in text for text in suggested(folder))


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_keeps_the_accessibility_rules_in_every_scheme():
    style = (files("vialign.report") / "templates/style.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    assert len(schemes) == 3 and contrast("#000000", "#ffffff") == pytest.approx(21)
    for scheme in schemes:
        for name in ("ink", "muted", "link", "go", "warn", "stop"):
            grounds = ["page", "card"] + ([f"{name}-soft"] if f"{name}-soft" in scheme else [])
            assert min(contrast(scheme[name], scheme[ground]) for ground in grounds) >= 4.5, name
        for place in range(1, len(PALETTE) + 1):
            assert contrast(scheme[f"series-{place}"], scheme["card"]) >= 3, place


def test_a_signal_at_chance_is_not_said_to_tell_anything(folder):
    def first():
        return said(read_evidence(folder, fake_config()), 0)[1]

    assert "tells true captions from hard negatives, best" in first()
    undo = rewrite(folder, "diagnosis", lambda frame: frame.assign(auc=0.52, low=0.48, high=0.56))
    try:
        assert "from no kind of hard negative beyond chance" in first()
    finally:
        undo()


def test_benchmarks_solved_or_misled_by_text_alone_are_named_and_no_others(folder):
    found = str(solved_blind(read_evidence(folder, fake_config()), fake_config())[1])
    assert "test/aro_order" in found and "may come from the words" in found
    assert "test/aro_attribution" in found and "mislead" in found
    assert "test/aro_relation" not in found and "winoground" not in found
    unsolved = dict(accuracy=0.4, low=0.3, high=0.6, chance=0.5, solved=False)
    undo = rewrite(folder, "blind", lambda frame: frame.assign(**unsolved))
    try:
        assert "solves none" in str(solved_blind(read_evidence(folder, fake_config()), fake_config())[1])
    finally:
        undo()


def test_a_gain_on_what_text_alone_solves_is_no_answer(folder):
    """Here the modules win in retrieval too, so without such a benchmark the answer is about retrieval alone."""

    def answer():
        return headline(read_evidence(folder, fake_config()), fake_config())

    assert "on how concepts combine and in retrieval" in answer()
    names = [f"test/{name}" for name in ("winoground", "aro_relation", "vqa")]
    undo = rewrite(
        folder,
        "blind",
        lambda frame: pd.concat([frame.head(1).assign(benchmark=name, solved=True) for name in names]),
    )
    try:
        assert answer().startswith("Yes, on this data: the modules beat both the frozen backbone and LoRA in retrieval")
    finally:
        undo()


def test_what_text_alone_solves_is_not_counted_as_won_or_lost(folder):
    def counted():
        told = re.sub("<[^>]+>", "", str(said(read_evidence(folder, fake_config()), 1)[0]))
        found = re.search(r"significantly better on (\d+) of (\d+) measures, worse on (\d+)(.*)\.$", told)
        return [int(number) for number in found.groups()[:3]], found[4]

    comparisons = read_evidence(folder, fake_config()).get("comparisons")
    solved = comparisons[comparisons["measure"].eq("accuracy")]["benchmark"].unique()
    (_, before, _), note = counted()
    assert note == "" and len(solved)
    undo = rewrite(
        folder,
        "blind",
        lambda frame: pd.concat([frame.head(1).assign(benchmark=name, solved=True) for name in solved]),
    )
    try:
        (_, after, _), note = counted()
        assert after == before - len(solved) and note == "; what the text alone solves is not among them"
    finally:
        undo()


def test_what_the_modules_add_to_word_grounding_is_said_where_it_stands_beside_them(folder):
    def carried():
        return re.sub("<[^>]+>", "", " ".join(map(str, said(read_evidence(folder, fake_config()), 2))))

    assert "Word grounding" not in carried()
    undo = rewrite(
        folder,
        "comparisons",
        lambda frame: pd.concat([frame, frame[frame["reference"] == "lora"].assign(reference="grounding", p_holm=1.0)]),
    )
    try:
        assert re.search(
            r"Word grounding alone trains no module; what the modules add to it is the difference\. "
            r"Against grounding, \S+ is significantly better on 0 of \d+ measures, worse on 0",
            carried(),
        )
    finally:
        undo()


def test_kinds_that_text_alone_tells_are_named_beside_the_reference_signals(folder):
    def shown():
        return "".join(str(block) for block in signal(read_evidence(folder, fake_config()), fake_config()).blocks)

    before = shown()
    assert "Text alone tells true captions beyond chance from: random" in before
    for name in ("FILIP tokens", "F-CLIPScore", "text alone"):
        assert f"<strong>{name}</strong>" in before
    undo = rewrite(folder, "diagnosis", lambda frame: frame[frame["signal"] != "blind"])
    try:
        after = shown()
        assert "Text alone tells" not in after and "Not available: the reference signal text alone" in after
    finally:
        undo()


def test_every_question_has_a_plain_answer_with_intervals_and_a_way_to_its_section(folder):
    found = answers(read_evidence(folder, fake_config()), fake_config())
    assert [answer.question.split()[0] for answer in found] == ["Did", "Did", "What", "What", "Where", "How"]
    for answer in found:
        assert str(answer.said[0]).startswith(("<strong>", "With the same code")) and answer.sections
    for answer in (*found[:2], *found[3:5]):
        assert 'class="interval"' in "".join(answer.said)
    signal_said, lora, carried, cost, fails, repeat = ("".join(answer.said) for answer in found)
    assert "On random captions: AUC" in signal_said
    assert "Recall at rank one" in lora and "image to text" in lora and "Against <em>frozen" in lora
    assert "extra time of training" in cost and "vialign-scenes" in cost and "ViT-B-32" in cost
    assert "C carries nothing of it" in carried and "the geometry of two prototypes" in carried
    assert "concept missing" in fails and "Of all its queries" in fails
    assert "snakemake --cores all --configfile config.yaml -- all" in repeat


@pytest.mark.parametrize(
    ("difference", "p", "answer"), [(0.02, 0.001, "Yes"), (-0.02, 0.001, "No"), (0.02, 0.5, "Not shown")]
)
def test_the_answer_about_lora_follows_the_comparisons(folder, difference, p, answer):
    undo = rewrite(folder, "comparisons", differences(0.04, difference, p_lora=p))
    try:
        assert said(read_evidence(folder, fake_config()), 1)[0].startswith(f"<strong>{answer}</strong>")
    finally:
        undo()


def test_a_signal_that_ranks_random_captions_above_true_ones_is_said(folder):
    def mislead(frame):
        random = frame["kind"] == "random"
        return frame.assign(**{name: frame[name].mask(random, frame[name] - 0.7) for name in ("auc", "low", "high")})

    undo = rewrite(folder, "diagnosis", mislead)
    try:
        assert "Captions of other images it ranks above the true ones" in "".join(
            said(read_evidence(folder, fake_config()), 0)
        )
    finally:
        undo()


def test_a_loss_to_the_frozen_backbone_is_named(folder):
    assert "On no measure of any test split" in "".join(said(read_evidence(folder, fake_config()), 4))
    undo = rewrite(folder, "comparisons", differences(-0.04, 0.02))
    try:
        assert "Largest loss to the frozen backbone" in "".join(said(read_evidence(folder, fake_config()), 4))
    finally:
        undo()


@pytest.mark.parametrize(("gate", "known"), [("signal", [0]), ("budget", [0, 3]), ("early", [0, 3])])
def test_a_stopped_run_answers_what_it_can_and_says_what_it_cannot(tmp_path, gate, known):
    evidence = read_evidence(write_fake_results(tmp_path, stop=gate), fake_config())
    lead = "No" if gate == "signal" else "Yes"
    assert said(evidence, 0)[0].startswith(f"<strong>{lead}</strong>")
    for place in (1, 2, 3, 4):
        unknown = f"the {gate} gate stopped the run before it" in said(evidence, place)[0]
        assert unknown == (place not in known)
    assert "config.yaml" in said(evidence, 5)[0]


def test_an_empty_folder_knows_none_of_the_answers(tmp_path):
    evidence = read_evidence(tmp_path, fake_config())
    assert all(said(evidence, place)[0].startswith("<strong>Not known</strong>") for place in range(4))
