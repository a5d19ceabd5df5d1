"""The two-level model against an analysis of variance by loops, statsmodels' mixed model, and simulated coverage."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.power import TTestPower

from scripts import load_script
from vialign.evaluation.two_level import difference_of, linearised, mean_of, two_level


def by_loops(values):
    """Mean squares of images, seeds and residual of one two-way table, cell by cell as textbooks write them."""
    images, seeds = values.shape
    grand = sum(values[i, j] for i in range(images) for j in range(seeds)) / values.size
    of_image = [sum(values[i]) / seeds for i in range(images)]
    of_seed = [sum(values[:, j]) / images for j in range(seeds)]
    left = sum((values[i, j] - of_image[i] - of_seed[j] + grand) ** 2 for i in range(images) for j in range(seeds))
    return (
        seeds * sum((mean - grand) ** 2 for mean in of_image) / (images - 1),
        images * sum((mean - grand) ** 2 for mean in of_seed) / (seeds - 1),
        left / ((images - 1) * (seeds - 1)),
    )


def table(images, seeds, image_sd, seed_sd, seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(images, seeds)) + image_sd * rng.normal(size=(images, 1))
    return noise + seed_sd * rng.normal(size=(1, seeds))


def only(values):
    return two_level(values, [mean_of(range(values.shape[1]), values.shape[1])])


@settings(max_examples=25)
@given(st.integers(3, 30), st.integers(2, 7), st.sampled_from((0.0, 1.0)), st.sampled_from((0.0, 0.5, 3.0)))
def test_error_and_degrees_of_freedom_are_those_of_an_analysis_of_variance(images, seeds, image_sd, seed_sd):
    values = table(images, seeds, image_sd, seed_sd, images * seeds)
    of_image, of_seed, left = by_loops(values)
    found = only(values)
    size, seed_part = values.size, max(of_seed - left, 0)
    assert found.value[0] == pytest.approx(values.mean())
    variance = (of_image + seed_part) / size
    assert found.error[0] == pytest.approx(max(variance**0.5, 1 / images))
    assert found.item_error[0] == pytest.approx(max((of_image / size) ** 0.5, 1 / images))
    assert found.seed_spread[0] == pytest.approx(values.mean(axis=0).std(ddof=1))
    if variance > images**-2:
        doubt = of_image**2 / (images - 1) + of_seed**2 / (seeds - 1) + left**2 / ((images - 1) * (seeds - 1))
        expected = (variance * size) ** 2 / doubt
        assert found.df[0] == pytest.approx(max(expected, min(images, seeds) - 1))
    half = stats.t.ppf(0.975, found.df[0]) * found.error[0]
    low, high = found.interval(0.05)
    assert (low[0], high[0]) == pytest.approx((values.mean() - half, values.mean() + half))
    assert found.p_value[0] == pytest.approx(2 * stats.t.sf(abs(values.mean()) / found.error[0], found.df[0]))


def test_the_variance_of_the_mean_is_that_of_a_mixed_model():
    """REML of a balanced layout equals the analysis of variance; the mean's error is that of statsmodels' intercept."""
    values = table(14, 5, 1.0, 0.6, 3)
    image, seed = (grid.ravel() for grid in np.meshgrid(range(14), range(5), indexing="ij"))
    frame = pd.DataFrame({"value": values.ravel(), "image": image, "seed": seed, "all": 1})
    parts = {"image": "0 + C(image)", "seed": "0 + C(seed)"}
    fitted = MixedLM.from_formula("value ~ 1", frame, groups="all", vc_formula=parts, re_formula="0").fit()
    found = only(values)
    assert found.value[0] == pytest.approx(fitted.fe_params["Intercept"], abs=1e-6)
    assert found.error[0] == pytest.approx(fitted.bse_fe["Intercept"], rel=1e-3)


def test_one_seed_is_students_t_over_images():
    values = table(40, 1, 1.0, 0.0, 1)
    found = only(values)
    expected = stats.ttest_1samp(values[:, 0], 0)
    assert (found.p_value[0], found.df[0], found.seeds[0]) == (pytest.approx(expected.pvalue), 39, 1)
    assert np.isnan(found.seed_spread[0])
    for ends in (found.interval(0.1), found.item_interval(0.1)):
        assert np.ravel(ends).tolist() == pytest.approx(list(expected.confidence_interval(0.9)))


def test_paired_seeds_are_the_table_of_differences_and_the_order_of_seeds_does_not_matter():
    values = table(30, 8, 1.0, 0.5, 4)
    values[:, 4:] += values[:, :4]  # the second method shares the images' and the seeds' luck
    first, second = {7: 4, 3: 5, 9: 6, 1: 7}, {1: 3, 9: 2, 7: 0, 3: 1}
    found = two_level(values, [difference_of(first, second, 8)])
    expected = only(values[:, 4:] - values[:, :4])
    for name in ("value", "error", "df", "item_error", "seed_spread", "seeds"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name))


def test_unpaired_seeds_add_the_spread_of_both():
    """Welch: the images' part is that of the difference of both row means, each method adds its seeds' own part."""
    values = np.concatenate([table(50, 4, 1.0, 0.8, 5), table(50, 3, 1.0, 0.4, 6)], axis=1)
    found = two_level(values, [difference_of({n: n for n in range(4)}, {n: n for n in range(4, 7)}, 7)])
    rows = values[:, :4].mean(axis=1) - values[:, 4:].mean(axis=1)
    item = rows.var(ddof=1) / 50
    variance, doubt = item, item**2 / 49
    for part in (values[:, :4], values[:, 4:]):
        _, of_seed, left = (square / part.size for square in by_loops(part))
        variance += of_seed - left
        doubt += of_seed**2 / (part.shape[1] - 1) + left**2 / (49 * (part.shape[1] - 1))
    assert found.value[0] == pytest.approx(rows.mean())
    assert found.error[0] == pytest.approx(variance**0.5)
    assert found.df[0] == pytest.approx(max(variance**2 / doubt, 2))
    assert found.seeds[0] == 3


def test_one_seed_in_common_is_no_pair_of_seeds():
    """A method with one seed is taken as it is; all five of the other count."""
    values = table(50, 6, 1.0, 0.5, 7)
    found = two_level(values, [difference_of({n: n for n in range(5)}, {0: 5}, 6)])
    expected = only(values[:, :5] - values[:, 5:])
    for name in ("value", "error", "df", "item_error", "seed_spread", "seeds"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name))


def test_a_mean_over_items_or_tags_has_the_error_of_resampled_images():
    """Oracle: one loop over resamples of the images with all their items, of any number and tag."""
    rng = np.random.default_rng(8)
    image = np.repeat(np.arange(150), rng.integers(1, 6, 150))
    tag = rng.choice(3, size=len(image), p=(0.6, 0.3, 0.1))
    value = (rng.random(len(image)) < 0.3 + 0.2 * tag + 0.3 * (image % 2)).astype(float)
    rows = pd.DataFrame({"image": image, "tag": tag, "value": value})
    groups = rows.groupby(["image", "tag"])["value"]
    sums = groups.sum().unstack(fill_value=0).to_numpy()[:, None]
    counts = groups.count().unstack(fill_value=0).to_numpy(float)
    micro = two_level(linearised(sums.sum(axis=2, keepdims=True), counts.sum(axis=1, keepdims=True)), [mean_of([0], 1)])
    macro = two_level(linearised(sums, counts), [mean_of([0], 1)])
    assert micro.value[0] == pytest.approx(value.mean())
    assert macro.value[0] == pytest.approx(rows.groupby("tag")["value"].mean().mean())
    drawn = [rng.integers(150, size=150) for _ in range(3000)]
    resampled = np.array([(sums[draw, 0].sum(), counts[draw].sum()) for draw in drawn])
    assert micro.error[0] == pytest.approx((resampled[:, 0] / resampled[:, 1]).std(), rel=0.06)
    by_tag = np.array([(sums[draw, 0].sum(axis=0) / counts[draw].sum(axis=0)).mean() for draw in drawn])
    assert macro.error[0] == pytest.approx(by_tag.std(), rel=0.06)


@pytest.mark.parametrize("constant", [0.0, 0.25])
@pytest.mark.parametrize("seeds", [1, 3])
def test_where_nothing_varies_one_image_that_was_not_drawn_is_the_error(constant, seeds):
    found = only(np.full((50, seeds), constant))
    assert (found.value[0], found.error[0], found.item_error[0], found.df[0]) == pytest.approx(
        (constant, 1 / 50, 1 / 50, 49)
    )
    assert found.p_value[0] == (1 if constant == 0 else pytest.approx(2 * stats.t.sf(12.5, 49)))


def test_one_image_tells_nothing_and_two_hardly_more():
    one = only(np.array([[0.0, 1.0, 1.0]]))
    low, high = one.interval(0.05)
    assert low[0] < -1 and high[0] > 1 and one.p_value[0] > 0.5
    assert one.detectable(0.05)[0] > 1 and np.isnan(one.detectable_share(0.05)[0])
    two = only(np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]))
    assert np.isfinite(two.df[0]) and 1 <= two.df[0] <= 2 and two.p_value[0] > 0.2


def test_nothing_to_estimate_gives_nothing():
    assert len(two_level(np.zeros((5, 2)), []).value) == 0


@pytest.mark.parametrize("seeds", [1, 5, 8])
def test_the_detectable_difference_has_the_stated_power(seeds):
    found = only(table(60, seeds, 1.0, 1.5, 11))
    effect = found.detectable(0.05)[0] / found.error[0]  # in standard errors
    size = found.df[0] + 1
    power = TTestPower().power(effect / size**0.5, nobs=size, alpha=0.05, df=found.df[0])
    assert power == pytest.approx(0.8, abs=0.02)


@pytest.fixture(scope="module")
def simulate(repository):
    return load_script(repository / "benchmarks/coverage.py")


TRIALS = 400


def within(share, low, high):
    """Whether as many of TRIALS as `share` says are likely where the truth lies in [low, high]: error 1e-4 a side."""
    return stats.binom.ppf(1e-4, TRIALS, low) <= share * TRIALS <= stats.binom.ppf(1 - 1e-4, TRIALS, high)


@pytest.mark.parametrize("spread", [0.2, 0.4])
def test_the_interval_over_images_and_five_seeds_covers_the_truth_as_often_as_it_says(simulate, spread):
    found = simulate.coverage(simulate.World(images=300, seeds=5, seed_sd=spread), TRIALS, 1)
    assert within(found.covered, 0.94, 0.96)
    # The control: an interval over images alone, which would call the luck of seeds an effect.
    assert not within(found.items_covered, 0.94, 0.96) and found.items_covered < 0.85


def test_seeds_that_do_not_differ_make_it_wide_and_never_narrow(simulate):
    found = simulate.coverage(simulate.World(images=300, seeds=5, seed_sd=0.0), TRIALS, 2)
    assert within(found.covered, 0.94, 0.99)
    assert within(found.items_covered, 0.94, 0.96)


def test_methods_that_do_not_differ_are_called_different_as_rarely_as_the_level_says(simulate):
    found = simulate.coverage(simulate.World(images=300, seeds=5, seed_sd=0.2, gain=0.0), TRIALS, 3)
    assert within(1 - found.covered, 0.03, 0.06)
