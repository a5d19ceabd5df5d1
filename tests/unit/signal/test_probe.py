import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from vialign.config.signal import SignalConfig
from vialign.signal.validation.probe import (
    ProbeData,
    balanced_accuracy,
    predict,
    probe_features,
    probe_texts,
    run_probe,
)
from vialign.tables.language import TEXTS
from vialign.tables.signal import PROBE

CONFIG = SignalConfig(folds=3, bootstrap=300, probe_relations=40, probe_predicates=3)


def labelled_world(images: int = 60, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Objects and relations: every couple has a place; half of them are `larger than` too; `beside` is rare."""
    rng = np.random.default_rng(seed)
    objects, relations = [], []
    for image in range(images):
        for number, (colour, name) in enumerate((("red", "circle"), ("orange", "square"))):
            identifier = f"i{image}/{number}"
            objects.append(
                {"object_id": identifier, "image_id": f"i{image}", "name": name, "attributes": [colour, "small"]}
            )
        said = [str(rng.choice(["above", "below"], p=[0.8, 0.2]))]
        said += ["larger than"] if image % 2 else []
        said += ["beside"] if image < 2 else []
        relations += [
            {
                "relation_id": f"i{image}/{number}",
                "image_id": f"i{image}",
                "subject_id": f"i{image}/0",
                "predicate": predicate,
                "object_id": f"i{image}/1",
            }
            for number, predicate in enumerate(said)
        ]
    return pd.DataFrame(relations), pd.DataFrame(objects)


def test_statements_are_bounded_even_and_one_an_image():
    relations, objects = labelled_world()
    ids = [f"i{n}" for n in range(50)]
    texts = probe_texts(relations, objects, ids, CONFIG, 0)
    TEXTS.check(texts[list(TEXTS.columns)])
    assert len(texts) == 3 * texts["relation_id"].nunique()
    items = texts.drop_duplicates("relation_id")
    assert not items["image_id"].duplicated().any() and set(items["image_id"]) <= set(ids)
    assert set(texts["predicate"]) == {"above", "below", "larger than"}
    counts = items["label"].value_counts()
    assert len(items) <= 40 and counts.max() <= 20 and counts["below"] >= 8
    truth = dict(zip(relations["relation_id"], relations["predicate"], strict=True))
    assert all(truth[row.relation_id] == row.label for row in items.itertuples())
    row = texts[texts["predicate"] == "larger than"].iloc[0]
    assert row["text"] == "a red circle larger than an orange square"
    assert texts.equals(probe_texts(relations, objects, ids, CONFIG, 0))


def test_couples_with_one_relation_come_first():
    relations, objects = labelled_world()
    texts = probe_texts(relations, objects, [f"i{n}" for n in range(60)], CONFIG, 0)
    places = texts[texts["label"] == "above"].drop_duplicates("relation_id")
    even = places["image_id"].str[1:].astype(int) % 2 == 0
    assert even.all()


def test_without_labelled_relations_there_are_no_statements():
    relations, objects = labelled_world()
    assert probe_texts(relations.head(0), objects, ["i0"], CONFIG, 0).empty
    assert probe_texts(relations, objects, ["i0", "i1"], CONFIG, 0).empty


def test_features_are_the_signal_of_every_predicate_in_one_order():
    relations, objects = labelled_world()
    ids = [f"i{n}" for n in range(60)]
    texts = probe_texts(relations, objects, ids, CONFIG, 0)
    rng = np.random.default_rng(0)
    scores = texts[["text_id", "image_id"]].assign(
        kind="aligned",
        **{name: rng.random(len(texts)) for name in ("s_global", "s_local", "s_local_plain", "consistency")},
    )
    embeddings = pd.DataFrame(rng.random((60, 5)), index=ids)
    data = probe_features(scores.sample(frac=1, random_state=0), texts, "consistency", embeddings)
    assert data.features["s_global+signal"].shape == (len(data.labels), 6)
    lookup = scores.set_index("text_id")["consistency"]
    for place, item in enumerate(texts.drop_duplicates("relation_id").itertuples()):
        expected = [
            lookup[f"{item.relation_id}?{predicate}"] for predicate in sorted({"above", "below", "larger than"})
        ]
        assert data.features["signal"][place].tolist() == expected
        assert (data.labels[place], data.images[place]) == (item.label, item.image_id)
        assert data.features["embedding"][place].tolist() == embeddings.loc[item.image_id].tolist()


def simulated(informative: bool, items: int = 150, classes: int = 3, seed: int = 0) -> ProbeData:
    """S_global knows a little of the label; the signal knows more, or nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, items)
    hint = np.eye(classes)[labels]
    s_global = 0.7 * hint + rng.standard_normal((items, classes))
    signal = (1.5 * hint if informative else 0) + rng.standard_normal((items, classes))
    s_local = 0.7 * hint + rng.standard_normal((items, classes))
    features = {
        "signal": signal,
        "s_global": s_global,
        "s_global+s_local": np.hstack([s_global, s_local]),
        "s_global+signal": np.hstack([s_global, signal]),
        "s_global+s_local+signal": np.hstack([s_global, s_local, signal]),
    }
    return ProbeData(features, labels, np.arange(items).astype(str))


def test_a_planted_gain_is_found_and_the_controls_find_nothing():
    table = run_probe(simulated(True), CONFIG, 0).set_index("features")
    assert table.loc["s_global+signal", "gain_low"] > 0.05
    beyond = table.loc["s_global+s_local+signal"]
    assert 0 < beyond["beyond_parts_low"] < beyond["gain_low"]
    assert beyond["beyond_parts"] == pytest.approx(beyond["accuracy"] - table.loc["s_global+s_local", "accuracy"])
    assert table.loc["signal", "selectivity"] > 0.2
    for control in ("random", "shuffled labels"):
        assert abs(table.loc[control, "accuracy"] - 1 / 3) < 0.12
    assert table.loc["s_global", "accuracy"] > 1 / 3 + 0.05 and pd.isna(table.loc["s_global", "gain"])
    assert table.loc["random", "gain_high"] < 0.05
    PROBE.check(table.reset_index())


def test_without_information_there_is_no_gain():
    tables = [run_probe(simulated(False, seed=seed), CONFIG, 0).set_index("features") for seed in (1, 2)]
    assert all(table.loc["s_global+signal", "gain_low"] < 0 for table in tables)
    assert all(table.loc["s_global+s_local+signal", "beyond_parts_low"] < 0 for table in tables)


def test_no_item_is_predicted_from_its_own_image():
    """Items of one image share a label that nothing else reveals: leaking folds would read it."""
    rng = np.random.default_rng(0)
    images = np.repeat(np.arange(60), 4)
    labels = rng.integers(0, 2, 60)[images]
    features = rng.standard_normal((60, 30))[images]
    found = predict(features, labels, images, CONFIG, 0)
    assert balanced_accuracy(found == labels, labels) < 0.7
    leaking = predict(features, labels, np.arange(240), CONFIG, 0)
    assert balanced_accuracy(leaking == labels, labels) > 0.8


def test_balanced_accuracy_equals_sklearn():
    rng = np.random.default_rng(0)
    labels, guess = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    assert balanced_accuracy(guess == labels, labels) == pytest.approx(balanced_accuracy_score(labels, guess))
