import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from groundshift.benchmarks import csts
from groundshift.worlds.correlation_patterns import patterns
from groundshift.worlds.segments import Segments


@pytest.fixture(scope="module")
def subject():
    return csts.generate(subjects=1, lengths=[120, 200])[0]


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_series_with_two_labellings(subject) -> None:
    open_before = plt.get_fignums()
    worse = csts.degrade(subject.segments, "shift", severity=1)
    figure = csts.plot_series(
        subject.data("nonnormal"), subject.segments, found=worse, max_segments=10, title="one"
    )
    truth, result, *panels = figure.axes
    assert [ax.get_ylabel() for ax in panels] == ["iob", "cob", "ig"]
    assert set(texts(truth)) <= {str(k) for k in subject.segments.cluster[:10]}
    assert (truth.get_ylabel(), result.get_ylabel()) == ("truth", "found")
    assert panels[-1].get_xlabel() == "row (first 10 of 46 segments)"
    assert panels[0].get_xlim() == (0, subject.segments.end[9])
    assert plt.get_fignums() == open_before


def test_a_long_series_is_drawn_with_few_points() -> None:
    data = np.zeros((300_000, 2))
    figure = csts.plot_series(data, Segments.from_lengths([300_000], [1]))
    assert len(figure.axes[1].lines[0].get_xdata()) <= 3000


def test_patterns_show_what_data_can_reach() -> None:
    figure = csts.plot_patterns()
    titles = [ax.get_title("left") for ax in figure.axes if ax.get_title("left")]
    assert titles[:6] == ["0", "1", "2", "3", "4, relaxed", "5, relaxed"]
    assert texts(figure.axes[4]) == ["0", "0.71", "0", "0.7", "0.71", "0.7"]
    assert len(csts.plot_patterns({k: patterns(4)[k] for k in list(patterns(4))[:3]}).axes) == 4
