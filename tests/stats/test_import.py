"""What importing the statistics costs a test run that does not use them."""

import subprocess
import sys


def test_importing_the_statistics_imports_no_heavy_library() -> None:
    heavy = ("scipy", "pandas", "statsmodels", "scikit_posthocs", "matplotlib", "pytest", "torch")
    code = f"import sys, pytest_edgeai.stats; print([m for m in {heavy} if m in sys.modules])"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"
