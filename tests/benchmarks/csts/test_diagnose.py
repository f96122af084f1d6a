"""Who is to blame: the data, the algorithm or the index?"""

import numpy as np
import pytest
from scipy.stats import skew

from groundshift.benchmarks import csts
from groundshift.discovery.clusterers import ChangePoints
from groundshift.errors import InputError

SIX = {"subjects": 1, "segments": 18, "patterns": [0, 2, 5, 13, 17, 25]}


def test_a_good_algorithm_is_not_blamed():
    diagnosis = csts.diagnose(ChangePoints(6, random_state=0), keeps=[1.0, 0.7], lengths=[200], **SIX)
    assert (diagnosis.blames, diagnosis.first_failure) == ("none", None)
    assert "every condition" in diagnosis.verdict


def test_an_algorithm_that_needs_normal_data_is_named_with_its_factor():
    truth = csts.generate(1, 18, "raw", patterns=SIX["patterns"], lengths=[300])[0].segments

    def right_on_normal_data(data):
        normal = np.abs(skew(data)).max() < 0.5
        return (truth if normal else csts.degrade(truth, "wrong", severity=0.9)).row_labels()

    diagnosis = csts.diagnose(right_on_normal_data, keeps=[1.0], lengths=[300], **SIX)
    assert diagnosis.blames == "algorithm"
    assert diagnosis.first_failure == "nonnormal data with 100% of the rows"
    assert "the change to nonnormal data breaks it" in diagnosis.verdict
    assert diagnosis.conditions["truth SWC"].min() > 0.8


def test_too_few_rows_are_the_fault_of_the_data_even_for_perfect_labels():
    world = csts.generate(1, 46, "correlated", lengths=[8], seed=2)
    subject = world[0]
    assert csts.blame(subject.segments, subject.array("correlated"), subject.segments) == "data"


def test_conditions_without_structure_blame_the_data():
    diagnosis = csts.diagnose(
        ChangePoints(6, random_state=0), keeps=[1.0], lengths=[200], stages=["raw"], **SIX
    )
    assert diagnosis.blames == "data"
    assert "not even the truth" in diagnosis.verdict


def test_perfect_labels_of_good_data_have_nobody_to_blame_and_noise_has_the_algorithm():
    subject = csts.generate(1, 18, "correlated", patterns=SIX["patterns"], lengths=[200], seed=1)[0]
    data, truth = subject.array("correlated"), subject.segments
    assert csts.blame(truth, data, truth) == "none"
    assert csts.blame(csts.degrade(truth, "wrong", severity=0.8, seed=0), data, truth) == "algorithm"


def test_an_index_that_contradicts_the_truth_is_blamed():
    subject = csts.generate(1, 18, "correlated", patterns=SIX["patterns"], lengths=[200], seed=1)[0]
    data, truth = subject.array("correlated"), subject.segments
    rows = truth.row_labels()
    specks = np.arange(5, len(rows) - 5, 12)  # few rows, but they cut the segments into small pieces
    rows[specks] = np.where(rows[specks] == 13, 2, 13)
    assert csts.evaluate(rows, data, truth).jaccard > 0.9
    assert csts.blame(rows, data, truth) == "index"


def test_results_are_written_out():
    diagnosis = csts.diagnose(ChangePoints(6, random_state=0), keeps=[1.0], lengths=[200], **SIX)
    assert diagnosis.to_dict()["blames"] == diagnosis.blames
    assert diagnosis.to_frame()["stage"].tolist() == ["correlated", "nonnormal"]
    assert str(diagnosis).startswith(diagnosis.verdict.partition(":")[0])


def test_bad_input():
    with pytest.raises(InputError, match="for labels of one series use blame"):
        csts.diagnose([1, 2, 3])
