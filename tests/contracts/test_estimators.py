"""What every estimator promises: scikit-learn's conventions, and a fitted state that is saved without pickle."""

import pickle

import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from groundshift.errors import InputError
from tests.contracts.examples import ESTIMATORS, fitted

every = pytest.mark.parametrize("name", sorted(ESTIMATORS))


@every
def test_is_cloned_with_its_parameters(name):
    model, _ = ESTIMATORS[name]()
    assert clone(model).get_params(deep=False) == model.get_params(deep=False)
    assert "random_state" in model.get_params()


@every
@pytest.mark.parametrize("ask", ["report", "to_dict", "plot", "save"])
def test_is_not_fitted_before_it_is(name, ask, tmp_path):
    model, _ = ESTIMATORS[name]()
    with pytest.raises(NotFittedError):
        getattr(model, ask)(*([tmp_path / "new"] if ask == "save" else []))
    assert not (tmp_path / "new").exists()
    assert type(model).__name__ in model._repr_html_()


@every
def test_fitting_changes_no_parameter_and_returns_itself(name):
    model, arguments = ESTIMATORS[name]()
    before = dict(model.get_params(deep=False))
    assert model.fit(**arguments) is model
    after = model.get_params(deep=False)
    assert all(after[key] is value for key, value in before.items())


@every
def test_the_same_seed_gives_the_same_answer(name):
    model, arguments = ESTIMATORS[name]()
    again = clone(model).fit(**arguments)
    assert again.to_dict() == fitted(name).to_dict()


@every
def test_what_is_saved_is_loaded_again(name, tmp_path):
    model = fitted(name)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    assert loaded.to_dict() == model.to_dict()
    assert repr(loaded) == repr(model)
    assert pickle.loads(pickle.dumps(model)).to_dict() == model.to_dict()


@every
def test_what_is_no_saved_model_is_refused(name, tmp_path):
    kind = type(fitted(name))
    with pytest.raises(InputError):
        kind.load(tmp_path)
    fitted(name).save(tmp_path / "cut")
    for file in (tmp_path / "cut").glob("*.json"):
        file.write_text("{")
    with pytest.raises(InputError):
        kind.load(tmp_path / "cut")
