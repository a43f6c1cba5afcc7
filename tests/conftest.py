"""Options of the whole suite.

Property tests look for new cases at a desk, and try the same ones each time in continuous integration: what lands
depends on the change, not on the dice.
"""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write what is compiled into tests/golden")
