"""Every study runs once at quick scale for all the tests of its file."""

import os

import pytest

pytest.register_assert_rewrite("tests.studies.contract")

from groundshift.lab import run  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Trained networks of the tests' own, if the user has not named a cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "GROUNDSHIFT_CACHE" not in os.environ:
            patch.setenv("GROUNDSHIFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def quick(request, tmp_path_factory):
    """The run at quick scale of the ``study`` that the test file imports."""
    return run(
        request.module.study.slug,
        scale="quick",
        store=tmp_path_factory.mktemp("runs"),
        engine="inline",
        progress="none",
    )
