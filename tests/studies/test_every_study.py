"""What holds of every study of the library without running it."""

import pytest

from groundshift.lab.execute import load_study
from groundshift.lab.planning import control_faults
from groundshift.lab.registry import systems


@pytest.mark.parametrize("slug", systems())
def test_has_mutants_and_controls_that_are_about_its_claims(slug):
    study = load_study(f"{systems()[slug].module}:study")
    assert len(study.mutants) >= 3
    assert list(control_faults(study)) == []
    assert all(method.run.__doc__ for method in study.mutants)
