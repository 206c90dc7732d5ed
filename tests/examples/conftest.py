"""Example packages, really installed."""

from __future__ import annotations

import re

import pytest


@pytest.fixture(scope="module")
def package(request):
    """Folder of the example that the test file names as `PACKAGE`."""
    return request.module.PACKAGE


@pytest.fixture(scope="module")
def ask(package, install_distributions, python_with):
    """Run Python where the package is installed."""
    return python_with(install_distributions(package))


@pytest.fixture
def readme_code(package):
    """The Python blocks of its README, in a row."""
    code = re.findall(r"^```python\n(.*?)^```$", (package / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert code
    return "\n".join(code)
