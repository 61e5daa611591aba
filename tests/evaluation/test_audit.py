from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditFindings, AuditSettings, Samples
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.evaluation.task_findings import TaskFindings
from mibias_cli.progress import Silent

QUICK = AuditSettings(probes=("logistic", "quadratic"), n_bootstrap=100)


def make_inputs(n: int = 240, n_train: int = 200, *, channels: int = 1, seed: int = 0) -> AuditInput:
    """Features whose first columns hold y, and before, not after, the channels of the attribute."""
    g = np.random.default_rng(seed)

    def draw(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        y, c = g.integers(0, 3, m), g.integers(0, 2, (m, channels))
        after = g.normal(size=(m, 6 + channels))
        after[:, :3] += 3 * np.eye(3)[y]
        before = after.copy()
        before[:, 6:] += 3 * c
        return y, c, before, after

    train_y, _, train_before, train_after = draw(n_train)
    y, c, before, after = draw(n)
    attribute = AuditedAttribute(
        name="colour",
        channels=("colour",) if channels == 1 else tuple(f"channel {k}" for k in range(channels)),
        class_names=(("dark", "light"),) * channels,
        c=c,
        known=np.ones(n, dtype=bool),
    )
    return AuditInput(
        before=Features(train=train_before, audit=before),
        after=Features(train=train_after, audit=after),
        train_y=train_y,
        audit_y=y,
        class_names=("a", "b", "c"),
        attributes=(attribute,),
        heads={"after": np.eye(3)[y]},
    )


def run(inputs: AuditInput, settings: AuditSettings = QUICK, seed: int = 0) -> AuditFindings:
    return audit(inputs, settings, seed=seed, progress=Silent())


def test_an_audit_tells_a_leaking_extractor_from_a_clean_one() -> None:
    result = run(make_inputs())
    found = result.attributes["colour"]
    assert found.before is not None
    assert found.change is not None
    assert found.before.leakage_bits.lower > 0.5
    assert found.after.leakage_bits.upper < found.before.leakage_bits.lower
    assert found.change.leakage_bits.upper < 0
    assert found.entropy_bits == pytest.approx(1.0, abs=0.05)
    assert abs(found.target_attribute_bits) < 0.03
    assert result.task.after.accuracy.estimate > 0.85
    assert result.task.after.head_accuracy == 1.0
    assert result.task.before is not None
    assert result.task.before.head_accuracy is None
    assert result.samples == Samples(train=200, audit=240, fit=120, score=120)
    for interval in (found.before.leakage_bits, found.after.leakage_bits, found.after.conditional_leakage_bits):
        assert interval.lower <= interval.estimate <= interval.upper


def test_the_same_seed_gives_the_same_audit() -> None:
    inputs = make_inputs()
    assert run(inputs) == run(inputs)
    assert run(inputs) != run(inputs, seed=1)


def test_without_before() -> None:
    result = run(replace(make_inputs(), before=None))
    assert result.attributes["colour"].before is None
    assert result.attributes["colour"].change is None
    assert result.task.before is None
    assert result.similarity.cka is None


def test_several_channels_are_each_reported() -> None:
    inputs = make_inputs(channels=2)
    assert inputs.before is not None
    inputs.before.audit[:, 6] = inputs.after.audit[:, 6]  # only the second channel leaks
    found = run(inputs).attributes["colour"]
    assert found.before is not None
    assert set(found.channels) == {"channel 0", "channel 1"}
    assert found.before.marginal.headline_channel == "channel 1"
    assert found.before == found.channels["channel 1"].before
    weak = found.channels["channel 0"].before
    assert weak is not None
    assert weak.leakage_bits.estimate < 0.05


def test_rows_without_the_attribute_take_no_part() -> None:
    inputs = make_inputs(n=300)
    known = np.arange(300) % 3 > 0
    c = np.where(known[:, None], inputs.attributes[0].c, 99)  # where unknown, c means nothing
    found = run(replace(inputs, attributes=(replace(inputs.attributes[0], c=c, known=known),)))
    assert found.attributes["colour"].n_known == 200
    assert sum(row.n for row in found.task.after.groups) == 200


def test_several_attributes_and_other_representations() -> None:
    inputs = make_inputs()
    assert inputs.before is not None
    second = replace(inputs.attributes[0], name="sex", channels=("sex",), c=1 - inputs.attributes[0].c)
    result = run(
        replace(
            inputs,
            attributes=(*inputs.attributes, second),
            others={"blocks.2": (inputs.before, inputs.after), "pooled": (None, inputs.before)},
        )
    )
    assert list(result.attributes) == ["colour", "sex"]
    others = result.attributes["sex"].others
    assert others["pooled"].before is None
    assert others["pooled"].after.leakage_bits.lower > 0.5
    assert others["blocks.2"].after.leakage_bits == result.attributes["sex"].after.leakage_bits
    assert {row.attribute for row in result.task.after.groups} == {"colour", "sex"}


def test_groups_are_not_split() -> None:
    """Features that name the group, and an attribute that is constant in a group: leakage only if groups are split."""
    g = np.random.default_rng(3)
    n_groups, per_group = 60, 8
    group = np.repeat(np.arange(n_groups), per_group)
    c = g.integers(0, 2, n_groups)[group][:, None]
    z = g.normal(size=(n_groups, 30))[group] + 0.01 * g.normal(size=(len(group), 30))
    inputs = make_inputs(n=len(group))
    attribute = replace(inputs.attributes[0], c=c)
    plain = replace(inputs, before=None, after=Features(train=z[:200], audit=z), attributes=(attribute,), heads={})
    settings = QUICK.model_copy(update={"probes": ("logistic", "mlp")})
    leaking = run(plain, settings).attributes["colour"].after.leakage_bits
    clean = run(replace(plain, group=group), settings).attributes["colour"].after.leakage_bits
    assert leaking.lower > 0.3
    assert clean.estimate < 0.05
    assert clean.upper - clean.lower > leaking.upper - leaking.lower or clean.upper < 0.1


def test_constant_features_are_audited_without_complaint() -> None:
    inputs = make_inputs()
    constant = Features(train=np.ones((200, 4), dtype=np.float32), audit=np.ones((240, 4), dtype=np.float32))
    result = run(
        replace(inputs, before=None, after=constant), QUICK.model_copy(update={"probes": AuditSettings().probes})
    )
    found = result.attributes["colour"].after
    assert found.leakage_bits.estimate == pytest.approx(0, abs=0.01)
    assert result.similarity.effective_rank_after == 0.0
    assert result.task.after.balanced_accuracy == pytest.approx(1 / 3)


def test_a_class_absent_from_the_audited_split_is_no_trouble() -> None:
    inputs = make_inputs()
    attribute = replace(inputs.attributes[0], class_names=(("dark", "light", "none"),))
    found = run(replace(inputs, attributes=(attribute,))).attributes["colour"]
    assert found.entropy_bits == pytest.approx(1.0, abs=0.05)


def test_features_that_are_not_finite_are_named() -> None:
    inputs = make_inputs()
    inputs.after.audit[3, 0] = np.nan
    with pytest.raises(EvaluationError, match="the audited extractor: 1 of 240 audited samples"):
        run(inputs)
    inputs = make_inputs()
    assert inputs.before is not None
    inputs.before.train[:2, 1] = np.inf
    with pytest.raises(EvaluationError, match="the original extractor: 2 of 200 training samples"):
        run(inputs)


def test_a_split_too_small_is_refused() -> None:
    with pytest.raises(EvaluationError, match="12 samples are too few"):
        run(make_inputs(n=12))
    inputs = make_inputs()
    known = np.arange(240) < 15
    with pytest.raises(EvaluationError, match="attribute 'colour': probes would be"):
        run(replace(inputs, attributes=(replace(inputs.attributes[0], known=known),)))


def test_an_attribute_of_one_class_is_named() -> None:
    inputs = make_inputs()
    attribute = replace(inputs.attributes[0], c=np.zeros((240, 1), dtype=np.int64))
    with pytest.raises(
        EvaluationError, match="attribute 'colour', channel 'colour': the audited split holds one class"
    ):
        run(replace(inputs, attributes=(attribute,)))


def test_an_unknown_probe_is_refused_before_any_work() -> None:
    with pytest.raises(EvaluationError, match="did you mean 'logistic'"):
        run(make_inputs(), QUICK.model_copy(update={"probes": ("logistik",)}))


def test_controls_stand_beside_every_figure() -> None:
    inputs = make_inputs()
    assert inputs.before is not None
    g = np.random.default_rng(9)
    result = run(replace(inputs, random=Features(train=np.zeros((0, 3)), audit=g.normal(size=(240, 3)))))
    found = result.attributes["colour"]
    assert found.before is not None
    assert found.random is not None
    assert found.before.marginal.p_value == pytest.approx(1 / 1000)
    assert found.before.marginal.p_value_holm == pytest.approx(2 / 1000)  # two probes
    for side in (found.after, found.random):
        null = side.marginal.null
        assert null is not None
        assert side.marginal.p_value is not None
        assert side.marginal.p_value > 0.01
        assert null.lower <= null.mean <= null.upper
        assert null.lower <= side.leakage_bits.estimate <= null.upper
        assert side.conditional is not None
        assert side.conditional.p_value is not None
    assert found.before.marginal.null is not None
    assert found.before.leakage_bits.lower > found.before.marginal.null.upper
    random, after = found.random.marginal.detectable_bits, found.after.marginal.detectable_bits
    assert random is not None
    assert after is not None
    assert random < after  # 3 columns and 7
    assert (
        run(inputs, QUICK.model_copy(update={"n_permutations": 0})).attributes["colour"].after.marginal.p_value is None
    )


def test_leakage_by_layer_and_of_columns_that_should_survive() -> None:
    inputs = make_inputs()
    assert inputs.before is not None
    shape = replace(inputs.attributes[0], name="shape", channels=("shape",), class_names=(("a", "b", "c"),))
    shape = replace(shape, c=inputs.audit_y[:, None])
    empty = np.zeros((0, 7))
    layers = {
        name: (None, Features(train=empty, audit=z))
        for name, z in (("early", inputs.before.audit), ("late", inputs.after.audit))
    }
    result = run(replace(inputs, layers=layers, columns=(shape,)))
    assert list(result.layers) == ["early", "late"]
    assert result.layers["early"]["colour"].before is None
    early = result.layers["early"]["colour"].after
    assert early.leakage_bits.lower > 0.3
    assert early.n_features == 7
    late = result.layers["late"]["colour"].after
    assert late.leakage_bits.upper < early.leakage_bits.lower
    # the same features by the same draws: the layer's figure is the attribute's
    assert late.leakage_bits == result.attributes["colour"].after.leakage_bits
    shown = result.fidelity.columns["shape"]
    assert shown.before is not None
    kept = shown.after
    assert kept.information_bits.lower > 1.0
    assert kept.accuracy is not None
    assert kept.accuracy > 0.9
    assert kept.entropy_bits == pytest.approx(np.log2(3), abs=0.02)
    assert shown.kind == "categorical"


def test_classes_that_are_pooled_are_named_for_every_channel_and_column() -> None:
    inputs = make_inputs()
    n = len(inputs.audit_y)
    # channel "rare" has two classes of three samples each, "even" has none that is rare
    rare, even = np.where(np.arange(n) < 6, 2 + np.arange(n) % 2, np.arange(n) % 2), np.arange(n) % 2
    places = replace(
        inputs.attributes[0], name="place", channels=("even", "rare"), c=np.stack([even, rare], axis=1),
        class_names=(("a", "b"), ("a", "b", "x", "y")), values=None,
    )  # fmt: skip
    lens = replace(places, name="lens", channels=("lens",), c=rare[:, None], class_names=(("a", "b", "x", "y"),))
    result = run(replace(inputs, attributes=(places,), columns=(lens,)))
    channels = result.attributes["place"].channels
    assert channels["even"].pooled == ()
    pooled = channels["rare"].pooled
    assert {"x", "y"} < set(pooled)
    assert len(pooled) == 3
    assert result.fidelity.columns["lens"].after.pooled == pooled
    # H(c) of the attribute is of all four classes, that of the column of the two that probes see
    share = np.bincount(rare) / n
    assert channels["rare"].entropy_bits == pytest.approx(-(share * np.log2(share)).sum())
    assert result.fidelity.columns["lens"].after.entropy_bits <= 1


def test_a_continuous_attribute_is_put_to_regressors_too() -> None:
    """Truth: −½ log2(1 − ρ²) = 0.737 bits of a number, less in four bins of it; four standard errors are 0.2."""
    g = np.random.default_rng(10)
    inputs = make_inputs(n=1200)
    age = g.normal(size=1200)
    z = inputs.after.audit.copy()
    z[:, 6] = 0.8 * age + 0.6 * g.normal(size=1200)
    values = np.exp(age)
    bins = np.searchsorted(np.quantile(values, [0.25, 0.5, 0.75]), values)
    attribute = replace(
        inputs.attributes[0], name="age", channels=("age",), class_names=(tuple("abcd"),), c=bins[:, None],
        kind="continuous", values=values[:, None],
    )  # fmt: skip
    features = Features(train=inputs.after.train, audit=z)
    result = run(replace(inputs, before=None, after=features, attributes=(attribute,)))
    found = result.attributes["age"]
    assert found.kind == "continuous"
    ridge, logistic = found.after.marginal.probes["ridge"], found.after.marginal.probes["logistic"]
    assert ridge.r2 == pytest.approx(0.64, abs=0.08)
    assert ridge.accuracy is None
    assert logistic.r2 is None
    assert ridge.leakage_bits == pytest.approx(0.737, abs=0.15)
    assert logistic.leakage_bits < ridge.leakage_bits
    assert found.after.leakage_bits.lower <= 0.737
    assert found.after.marginal.headline_probe in ("ridge", "mlp_regressor", "boosted_regressor")
    assert found.after.conditional_leakage_bits.estimate == pytest.approx(0.737, abs=0.15)


def test_the_task_has_fairness_figures_and_crossings() -> None:
    inputs = make_inputs()
    second = replace(inputs.attributes[0], name="sex", channels=("sex",), c=1 - inputs.attributes[0].c)
    result = run(replace(inputs, attributes=(*inputs.attributes, second)))
    sex, colour = result.fairness["sex"], result.fairness["colour"]
    assert sex.before is not None
    assert sex.after.demographic_parity_difference == colour.after.demographic_parity_difference
    (crossing,) = result.intersections
    assert crossing.attributes == ("colour", "sex")
    assert sum(cell.n for cell in crossing.cells) == 240
    task = result.task.after
    assert task.worst_group_accuracy is not None
    assert task.gap == pytest.approx(task.accuracy.estimate - task.worst_group_accuracy)
    assert set(task.adjusted_accuracies) == {"colour", "sex"}
    assert task.adjusted_accuracy == min(task.adjusted_accuracies.values())
    assert task.auroc is not None
    assert task.auroc > 0.95


def test_progress_counts_every_probe() -> None:
    class Counting(Silent):
        total = 0
        done = 0

        def begin(self, description: str, total: int) -> None:
            self.total = total

        def advance(self, done: int, metrics: object = None) -> None:
            self.done = done

    progress = Counting()
    audit(make_inputs(channels=2), QUICK, seed=0, progress=progress)
    assert progress.done == progress.total == 2 * 2 * 2 * 2  # before and after, channels, probes, with and without y


def test_weights_as_loaded_are_a_side_like_any_other() -> None:
    """The same features give the same figures, whichever side they stand on."""
    inputs = make_inputs()
    found = run(replace(inputs, loaded=inputs.before))
    colour, task = found.attributes["colour"], found.task
    assert colour.loaded == colour.before is not None
    assert task.loaded is not None
    assert task.loaded == task.before
    assert found.fairness["colour"].loaded == found.fairness["colour"].before
    assert found.similarity.effective_rank_loaded == found.similarity.effective_rank_before
    # and nothing else changes by it
    alone = run(inputs)
    assert (alone.attributes["colour"].after, alone.task.after) == (colour.after, task.after)
    assert alone.attributes["colour"].loaded is None


def test_trained_heads_have_figures_of_their_own() -> None:
    """A head that is right for one group alone: its accuracy, worst group and fairness by hand."""
    inputs = make_inputs()
    y, c = inputs.audit_y, inputs.attributes[0].c[:, 0]
    wrong = np.where(c == 0, y, (y + 1) % 3)
    found = run(replace(inputs, heads={"after": np.eye(3)[wrong]})).head
    assert found is not None
    assert found.task.before is None
    assert isinstance(found.task.after, TaskFindings)
    assert found.task.after.accuracy.estimate == pytest.approx((c == 0).mean())
    assert found.task.after.worst_group_accuracy == 0.0
    assert found.fairness["colour"].after.equal_opportunity_difference == 1.0
    assert run(replace(inputs, heads={})).head is None


def test_what_a_head_says_of_the_attribute_is_found_where_probes_of_the_features_miss_it() -> None:
    """c shifts one of 64 directions by so much that it holds .1 bits, and the head reads that direction."""
    found = []
    for seed in range(4):
        g = np.random.default_rng(seed)
        c, z = g.integers(0, 2, 1000), g.normal(size=(1000, 64))
        z[:, 0] += 0.757 * c  # I(z; c) = .0998 bits by numerical integration
        p = 1 / (1 + np.exp(-1.5 * z[:, 0]))
        y = (g.random(1000) < p).astype(np.int64)
        rotated = z @ np.linalg.qr(g.normal(size=(64, 64)))[0]
        inputs = AuditInput(
            before=Features(train=rotated[:50], audit=rotated),
            after=Features(train=rotated[:50], audit=rotated),
            train_y=y[:50],
            audit_y=y,
            class_names=("a", "b"),
            attributes=(replace(make_inputs().attributes[0], c=c[:, None], known=np.ones(1000, dtype=bool)),),
            heads={"after": np.stack([1 - p, p], axis=1)},
        )
        colour = run(inputs, AuditSettings(probes=("logistic", "head"), n_bootstrap=100), seed=seed)
        assert colour.attributes["colour"].before is not None
        found.append((colour.attributes["colour"].before.marginal, colour.attributes["colour"].after.marginal))
    # the same features, with and without the head
    assert all(set(without.probes) == {"logistic"} for without, _ in found)
    assert all(beside.headline_probe == "head" for _, beside in found)
    logistic, head = (np.mean([f.leakage_bits.estimate for f in side]) for side in zip(*found, strict=True))
    assert head == pytest.approx(0.0998, abs=0.03)  # four standard errors of the mean over four audits
    assert logistic < 0.6 * head


def test_a_head_alone_is_no_audit_of_features() -> None:
    with pytest.raises(EvaluationError, match="none of them reads features"):
        run(make_inputs(), AuditSettings(probes=("head",), n_bootstrap=100))


def test_a_head_that_says_the_same_of_all_samples_tells_nothing() -> None:
    inputs = replace(make_inputs(), heads={"after": np.full((240, 3), 1 / 3)})
    found = run(inputs, AuditSettings(probes=("logistic", "head"), n_bootstrap=100)).attributes["colour"].after
    head = found.marginal.probes["head"]
    assert head.auroc == 0.5
    assert abs(head.leakage_bits) < 0.02
    assert found.marginal.headline_probe == "logistic"
