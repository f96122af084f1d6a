"""Keys, streams and digests: a change in any of these is a visible event."""

import numpy as np
import pytest

from groundshift.errors import InputError
from groundshift.lab import identity
from groundshift.lab.identity import canonical_json, digest, source_hash, stream
from tests.lab.dummy import study

GOLDEN = {
    "careful on line sd=0.1 seconds=0.0 severity=0 seed=0": "8027ee5316539a010f36e875ee367dbdcfda76a5",
    "careless on line sd=0.1 seconds=0.0 severity=2 seed=4": "ebf7682d56941274e8931d849bb18bc3673e2043",
}


def test_golden_keys():
    keys = {str(cell): cell.key for cell in study.cells("cpu", study.scales["cpu"])}
    assert {name: keys[name] for name in GOLDEN} == GOLDEN


def test_keys_do_not_depend_on_the_order_or_the_type_of_parameters():
    assert canonical_json({"a": np.int64(1), "b": (np.float32(0.5), None)}) == canonical_json(
        {"b": [0.5, None], "a": 1}
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_cannot_identify_a_cell_is_refused(value):
    with pytest.raises(InputError, match="cannot identify a cell"):
        canonical_json({"x": value})


def test_streams_are_independent_of_each_other_and_of_the_order_of_drawing():
    first = stream(1, "a").standard_normal(1000)
    stream(1, "b").standard_normal(10)
    np.testing.assert_array_equal(first, stream(1, "a").standard_normal(1000))
    assert abs(np.corrcoef(first, stream(1, "b").standard_normal(1000))[0, 1]) < 0.15
    assert not np.array_equal(first, stream(2, "a").standard_normal(1000))


def test_golden_stream():
    assert stream(20250520, "dummy/line/0").integers(0, 1000, 4).tolist() == [823, 300, 50, 437]


def test_digest_sees_every_bit_type_and_shape():
    base = digest({"x": np.zeros(4), "s": 1.0})
    assert base == digest({"s": 1.0, "x": np.zeros(4)})
    others = [
        {"x": np.zeros((2, 2)), "s": 1.0},
        {"x": np.zeros(4, "f4"), "s": 1.0},
        {"x": np.zeros(4), "s": 1.0 + 1e-16},
        {"x": np.full(4, -0.0), "s": 1.0},
        {"x": np.zeros(4), "t": 1.0},
    ]
    assert [digest(other) == base for other in others] == [False, False, True, False, False]


def _beside():
    from groundshift.workflows.audit import audit

    return audit


def method():
    return _beside()


def test_source_hash_covers_functions_beside_and_every_module_under_them(monkeypatch):
    before = source_hash(method)
    assert source_hash(method) == before
    assert source_hash(_beside) != before
    read = identity._source
    for name, counts in (
        ("groundshift.shifts.marginals", True),  # a module that a module of the audit imports
        ("groundshift.discovery.cdnod.model", True),  # one that it imports inside a function
        ("groundshift.benchmarks.csts.labels", False),
        ("groundshift.lab.runs", False),
    ):
        monkeypatch.setattr(identity, "_source", lambda m, name=name: read(m) + b" " * (m == name))
        identity._module_hash.cache_clear()
        assert (source_hash(method) != before) is counts, name
    monkeypatch.setattr(identity, "_source", read)
    identity._module_hash.cache_clear()
