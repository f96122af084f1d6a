"""Every study runs once at quick scale for all the tests of its file."""

import pytest

pytest.register_assert_rewrite("tests.studies.contract")

from groundshift.lab import run  # noqa: E402


@pytest.fixture(scope="module")
def quick(request, tmp_path_factory):
    """The run at quick scale of the ``study`` that the test file imports."""
    return run(
        request.module.study.slug,
        scale="quick",
        store=tmp_path_factory.mktemp("runs"),
        engine="local:2",
        progress="none",
    )
