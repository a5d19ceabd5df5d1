import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.data.benchmarks.vqa_rules import (
    COLOURS,
    FALLBACK,
    RULES,
    TEMPLATES,
    asks_yes_or_no,
    find_rule,
    plain,
    sentence,
)

TAKEN = {
    "colour": [
        "What color is the cat?",
        "What colour is the circle?",
        "What color shirt is the man on the left wearing?",
        "What is the main color of the bus?",
        "Which two colors are on the sign?",
    ],
    "material": ["What is the bench made of?", "What are the plates made out of?", "What material is the roof?"],
    "what is where": [
        "What is on the table?",
        "What animal is behind the fence?",
        "Who is next to her?",
        "what shape is above the red circle?",
        "what shape is left of the blue square?",
    ],
    "shape": ["What shape is the sign?", "What pattern is on the shirt?", "What size is the bed?"],
    "where": ["Where is the cat?", "Where are his hands?", "where is the red circle compared to the blue square?"],
    "side": ["Which side of the road is the car on?", "On what side is the handle?", "In which hand is the racket?"],
    "which where": ["Which animal is standing behind the fence?", "Who has a hat on his head?"],
    "what acts": [
        "What is the man holding in his hand?",
        "What kind of hat is the woman wearing?",
        "What are these people sitting on?",
    ],
    "place check": [
        "Is the cat on the bed?",
        "Are there any birds in the tree?",
        "Is this man in front of the bus?",
        "Is the circle left of the square?",
        "Is the dog to the left or to the right of the boy?",
    ],
    "act check": ["Is the man wearing a hat?", "Are the children holding umbrellas?"],
    "comparison": ["Which giraffe is taller?", "Are the two dogs the same size?", "Is the left cup bigger?"],
    "colour check": ["Is the sky blue?", "Is it red?", "Is the shirt red or blue?", "Are the walls black and white?"],
    "quality check": ["Is the door open?", "Is this floor wooden?", "Are the windows open or closed?"],
}

LEFT_OUT = {
    "colour": ["Is this a color photo?", "How many colors are there?"],
    "material": ["What did he make of it?", "Who made the cake?"],
    "what is where": ["What number is on the bus?", "What is in the background?", "What is this?", "What is on?"],
    "shape": ["Is he in shape?", "How big is the dog?"],
    "where": ["Where was this picture taken?", "Where is this?", "Where is the bus going?", "Where?"],
    "side": ["Does this side look clean?", "What beside that?"],
    "which where": ["Which team won?", "Who is this?", "Which is on?"],
    "what acts": ["What is the man doing?", "What is the weather like?", "Why is the man holding it?"],
    "place check": ["Is this in a city?", "Is the light on?", "How many people are on the left?", "Is it raining?"],
    "act check": ["Is the man running?", "Is the man sitting?", "Does the dog have a collar?"],
    "comparison": ["Do you like bigger dogs?", "Is the dog big enough to bark?"],
    "colour check": ["Is the sky bluer than it was?", "Is this a red car?", "Is he singing the blues?"],
    "quality check": ["Is the open door his?", "Is the old man running?", "Is the man old-fashioned?"],
}


def test_every_rule_has_questions_for_and_against():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert set(TAKEN) == set(LEFT_OUT) == set(names)


@pytest.mark.parametrize(("name", "question"), [(name, q) for name, questions in TAKEN.items() for q in questions])
def test_a_rule_takes_its_questions(name, question):
    rule = find_rule(question)
    assert rule is not None
    assert rule.name == name


@pytest.mark.parametrize(("name", "question"), [(name, q) for name, questions in LEFT_OUT.items() for q in questions])
def test_questions_that_only_look_like_it_are_in_no_rule(name, question):
    rule = find_rule(question)
    assert rule is None, f"meant as a counter-example to {name}, but {rule.name} takes it"


def test_spelling_spaces_and_capitals_do_not_matter():
    for question in ("what color is the cat", "WHAT  COLOUR is\tthe cat ?", " What color is the cat?? "):
        assert find_rule(question).name == "colour"


@given(st.sampled_from(COLOURS), st.sampled_from(["cat", "ceiling", "left sign", "man in the red shirt"]))
def test_each_colour_is_a_head_word_only_where_it_is_said_of_the_thing(colour, thing):
    assert find_rule(f"Is the cat {colour}?").name == "colour check"
    assert find_rule(f"Is the {colour} cat running?") is None
    assert sentence(f"What color is the {thing}?", colour).text == f"the {thing} is {colour}"


@given(st.text(max_size=60))
def test_no_text_breaks_rules_or_templates(text):
    find_rule(text)
    said = sentence(text, text)
    assert said.template in {FALLBACK, *(template.name for template in TEMPLATES)}
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize("start", ["is the ", "what color is ", "what is the dog made of "])
def test_a_text_far_longer_than_any_question_is_quickly_no_question(start):
    text = start + "is on the wearing of " * 500
    assert find_rule(text) is None
    assert sentence(text, "yes").template == FALLBACK


SENTENCES = [
    ("What color is the man's shirt?", "Red", "the man's shirt is red", "colour"),
    ("What color shirt is the man wearing?", "red", "the man is wearing red shirt", "colour of what acts"),
    ("What is the color of the bus?", "red and white", "the bus is red and white", "colour of"),
    ("What is the bench made of?", "wood", "the bench is made of wood", "made of"),
    ("What animal is behind the fence?", "cow", "cow is behind the fence", "what is where"),
    ("What shape is the sign?", "octagon", "the shape of the sign is octagon", "quality"),
    ("where is the red circle compared to the blue square?", "left of", "the red circle is left of the blue square")
    + ("compared",),
    ("Where is the cat?", "on bed", "the cat is on bed", "where"),
    ("What is the man holding in his hand?", "bat", "the man is holding bat in his hand", "what acts"),
    ("Is the circle left of the square?", "yes", "the circle is left of the square", "is it so"),
    ("Is the circle left of the square?", "no", "the circle is not left of the square", "is it so"),
    ("Are the dogs the same size?", "no", "the dogs are not the same size", "is it so"),
    ("Is the man wearing a hat?", "Yes", "the man is wearing a hat", "is it so"),
    ("Is there a dog in the car?", "no", "there is not a dog in the car", "is there"),
    ("Are there any birds in the tree?", "yes", "there are birds in the tree", "is there"),
    ("Is the shirt red or blue?", "no", "question: is the shirt red or blue answer: no", FALLBACK),
    ("Is the man wearing a hat?", "maybe", "question: is the man wearing a hat answer: maybe", FALLBACK),
    ("What color is the cat?", "yes", "question: what color is the cat answer: yes", FALLBACK),
    ("Which giraffe is taller?", "left", "question: which giraffe is taller answer: left", FALLBACK),
]


@pytest.mark.parametrize(("question", "answer", "text", "template"), SENTENCES)
def test_a_question_and_an_answer_make_one_sentence(question, answer, text, template):
    assert sentence(question, answer) == (text, template)


def test_every_template_has_a_sentence():
    assert {row[3] for row in SENTENCES} == {FALLBACK, *(template.name for template in TEMPLATES)}


def test_marks_that_python_formats_stay_text():
    assert sentence("What color is the {answer} {0}?", "{thing}").text == "the {answer} {0} is {thing}"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is the man old?", True),
        ("Does it rain?", True),
        ("Can you see it?", True),
        ("Is it red or blue?", False),
        ("What is it?", False),
        ("Island?", False),
        ("How many?", False),
    ],
)
def test_a_yes_or_no_question_starts_with_a_verb_and_offers_no_choice(question, expected):
    assert asks_yes_or_no(question) is expected
