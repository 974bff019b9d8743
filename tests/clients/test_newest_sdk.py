"""The newest official Python SDK: do the same tests hold that hold for the SDK we lock?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.environments import python_environment
from tests.gateway_process import ROOT

_LOCK = Path(__file__).with_name("newest-openai.lock")
_SUITES = ["tests/clients/test_openai_sdk.py", "tests/clients/test_openai_sdk_errors.py"]


@pytest.mark.timeout(300)
def test_the_newest_sdk_passes_the_suite_of_the_locked_one() -> None:
    python = python_environment("newest-openai", _LOCK)
    done = subprocess.run(
        [python, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *_SUITES],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SLUICE_TEST_PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-10_000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout


def test_it_is_a_later_sdk_than_the_locked_one() -> None:
    import openai

    python = python_environment("newest-openai", _LOCK)
    version = subprocess.check_output(
        [python, "-c", "import openai; print(openai.__version__)"], text=True
    )
    assert int(version.split(".")[0]) > int(openai.__version__.split(".")[0])
