"""Phase 1, probe: can a linear classifier read *how* two things are related from the signal, beyond its parts?

For an image with a labelled relation (s, r, o), the features are the signal of the image with "s p o" for every
predicate p of the vocabulary. The classifier predicts r, cross-validated by image. Each feature set also runs on
shuffled labels, the control task of Hewitt and Liang (2019): accuracy minus control accuracy is its selectivity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from vialign.config.signal import SignalConfig
from vialign.data.base import object_phrase
from vialign.progress import track
from vialign.random import derive_seed, generator
from vialign.signal.validation.resampling import image_weights, interval
from vialign.tables.language import TEXTS
from vialign.tables.signal import PROBE

REFERENCE = "s_global"
"""The feature set that every gain is measured from."""
PARTS = "s_global+s_local"
"""The harder rival: both similarities that the signal is made of."""


@dataclass(frozen=True)
class ProbeData:
    """Items of the probe, one a labelled relation."""

    features: Mapping[str, Float[np.ndarray, "item feature"]]
    """Feature sets by name."""
    labels: Shaped[np.ndarray, "item"]
    """The predicate that holds."""
    images: Shaped[np.ndarray, "item"]
    """Image of each item."""


def probe_texts(
    relations: pd.DataFrame, objects: pd.DataFrame, image_ids: Sequence[str], config: SignalConfig, seed: int
) -> pd.DataFrame:
    """A statement for every predicate about each drawn relation; the columns of `TEXTS`, relation_id, predicate, label.

    `relations` and `objects` have the columns of `RELATIONS` and `OBJECTS`. The vocabulary is the most frequent
    predicates; relations are drawn evenly over them, at most one an image, and among those of a predicate the ones of
    couples that no other predicate of the vocabulary is true of come first. Empty where fewer than two predicates
    have as many images as the cross-validation has folds: the probe is then not available.
    """
    columns = [*TEXTS.columns, "relation_id", "predicate", "label"]
    here = relations[relations["image_id"].isin(set(image_ids))]
    frequent = here["predicate"].value_counts().sort_index().nlargest(config.probe_predicates)
    drawn = _draw(
        here[here["predicate"].isin(frequent.index)], config.probe_relations, generator(seed, "probe relations")
    )
    images = drawn["predicate"].value_counts()
    vocabulary = [predicate for predicate in frequent.index if images.get(predicate, 0) >= config.folds]
    drawn = drawn[drawn["predicate"].isin(vocabulary)]
    if len(vocabulary) < 2:
        return pd.DataFrame(columns=columns)
    named = zip(objects["object_id"], objects["name"], objects["attributes"], strict=True)
    phrases = {object_id: object_phrase(name, attributes) for object_id, name, attributes in named}
    rows = [
        {
            "text_id": f"{row.relation_id}?{predicate}",
            "split": "probe",
            "image_id": row.image_id,
            "kind": "choice",
            "text": f"{phrases[row.subject_id]} {predicate} {phrases[row.object_id]}",
            "relation_id": row.relation_id,
            "predicate": predicate,
            "label": row.predicate,
        }
        for row in drawn.itertuples(index=False)
        for predicate in vocabulary
    ]
    return pd.DataFrame(rows, columns=columns)


def probe_features(
    scores: pd.DataFrame, texts: pd.DataFrame, driver: str, embeddings: pd.DataFrame | None = None
) -> ProbeData:
    """Feature sets of the probe from the signal of every statement.

    `scores` has the columns of `SIGNAL_SCORES` for the texts of `probe_texts`; `driver` names the column that is the
    signal; `embeddings` has the frozen image embedding of each image, indexed by image_id (one column a dimension).
    """
    merged = texts[["text_id", "image_id", "relation_id", "predicate", "label"]].merge(
        scores.drop(columns=["image_id", "kind"]), on="text_id", validate="one_to_one"
    )
    items = merged.drop_duplicates("relation_id").set_index("relation_id")

    def table(column: str) -> Float[np.ndarray, "item predicate"]:
        wide = merged.pivot(index="relation_id", columns="predicate", values=column)
        return wide.loc[items.index].to_numpy(dtype=np.float64)

    s_global, s_local, signal = table("s_global"), table("s_local"), table(driver)
    features = {
        "signal": signal,
        "s_global": s_global,
        "s_local": s_local,
        "s_local_plain": table("s_local_plain"),
        PARTS: np.hstack([s_global, s_local]),
        "s_global+signal": np.hstack([s_global, signal]),
        f"{PARTS}+signal": np.hstack([s_global, s_local, signal]),
    }
    if embeddings is not None:
        features["embedding"] = embeddings.loc[items["image_id"]].to_numpy(dtype=np.float64)
    return ProbeData(features, items["label"].to_numpy(), items["image_id"].to_numpy())


def run_probe(data: ProbeData, config: SignalConfig, seed: int) -> pd.DataFrame:
    """Cross-validated balanced accuracy of every feature set; rows as `PROBE`.

    `data.features` must hold `s_global` and `s_global+s_local` (gains are measured from both) and `signal`. Added here:
    `random` features, as many as the signal has, and the row `shuffled labels`, the signal's features on the control
    task. Intervals resample images with the cross-validated predictions held fixed.
    """
    classes, labels = np.unique(data.labels, return_inverse=True)
    images = pd.factorize(data.images)[0]
    rng = generator(seed, "probe")
    features = {**data.features, "random": rng.standard_normal(data.features["signal"].shape)}
    shuffled = labels[rng.permutation(len(labels))]
    weights = image_weights(int(images.max()) + 1, config.bootstrap, generator(seed, "probe bootstrap"))[:, images]

    def correct(values: Float[np.ndarray, "item feature"], target: Int[np.ndarray, "item"]) -> Bool[np.ndarray, "item"]:
        return predict(values, target, images, config, seed) == target

    hits = {name: correct(values, labels) for name, values in track(features.items(), "probe", total=len(features))}
    control = {
        name: correct(values, shuffled) for name, values in track(features.items(), "probe control", len(features))
    }
    resampled = {name: _resampled_balanced(hit, labels, weights) for name, hit in hits.items()}
    common = {"chance": 1 / len(classes), "classes": len(classes), "images": int(images.max()) + 1}
    rows: list[dict[str, object]] = []
    for name, hit in hits.items():
        accuracy = balanced_accuracy(hit, labels)
        low, high = interval(resampled[name])
        row = {"features": name, "accuracy": accuracy, "low": low, "high": high, **common}
        row["selectivity"] = accuracy - balanced_accuracy(control[name], shuffled)
        if name != REFERENCE:
            row["gain"] = accuracy - balanced_accuracy(hits[REFERENCE], labels)
            row["gain_low"], row["gain_high"] = interval(resampled[name] - resampled[REFERENCE])
        if name not in (REFERENCE, PARTS):
            row["beyond_parts"] = accuracy - balanced_accuracy(hits[PARTS], labels)
            row["beyond_parts_low"], row["beyond_parts_high"] = interval(resampled[name] - resampled[PARTS])
        rows.append(row)
    low, high = interval(_resampled_balanced(control["signal"], shuffled, weights))
    accuracy = balanced_accuracy(control["signal"], shuffled)
    rows.append({"features": "shuffled labels", "accuracy": accuracy, "low": low, "high": high, **common})
    return PROBE.check(pd.DataFrame(rows, columns=list(PROBE.columns)))


def predict(
    features: Float[np.ndarray, "item feature"],
    labels: Int[np.ndarray, "item"],
    images: Int[np.ndarray, "item"],
    config: SignalConfig,
    seed: int,
) -> Int[np.ndarray, "item"]:
    """Label of each item, predicted by a linear classifier that saw no item of its image."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=config.regularisation, class_weight="balanced", max_iter=2000)
    )
    folds = StratifiedGroupKFold(config.folds, shuffle=True, random_state=derive_seed(seed, "probe folds") % 2**32)
    return cross_val_predict(model, features, labels, groups=images, cv=folds)


def balanced_accuracy(correct: Bool[np.ndarray, "item"], labels: Int[np.ndarray, "item"]) -> float:
    """Mean over the classes of the share of correct items."""
    return float(_resampled_balanced(correct, labels, np.ones((1, len(labels))))[0])


def _resampled_balanced(
    correct: Bool[np.ndarray, "item"], labels: Int[np.ndarray, "item"], weights: Float[np.ndarray, "repeat item"]
) -> Float[np.ndarray, "repeat"]:
    """Balanced accuracy in each resample; a class that a resample lost does not count in it."""
    member = np.eye(int(labels.max()) + 1)[labels]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nanmean(((weights * correct) @ member) / (weights @ member), axis=1)


def _draw(relations: pd.DataFrame, limit: int, rng: np.random.Generator) -> pd.DataFrame:
    """At most `limit` relations, at most one an image, the predicate with the fewest so far choosing next."""
    relations = relations.reset_index(drop=True)
    shuffled = relations.iloc[rng.permutation(len(relations))]
    ambiguous = shuffled.groupby(["image_id", "subject_id", "object_id"])["predicate"].transform("nunique") > 1
    shuffled = shuffled.iloc[np.argsort(ambiguous.to_numpy(), kind="stable")]
    waiting = {str(predicate): list(group.index[::-1]) for predicate, group in shuffled.groupby("predicate")}
    taken = dict.fromkeys(waiting, 0)
    used: set[str] = set()
    chosen: list[object] = []
    while waiting and len(chosen) < limit:
        predicate = min(waiting, key=lambda name: (taken[name], name))
        if not waiting[predicate]:
            del waiting[predicate]
            continue
        row = waiting[predicate].pop()
        image = relations["image_id"].loc[row]
        if image not in used:
            used.add(image)
            taken[predicate] += 1
            chosen.append(row)
    return relations.loc[chosen]
