"""A fresh API server without HTTP for each test that asks for one."""

import pytest

from tests.lab.apiserver.cluster import Cluster


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()
