import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

CODECS = ("mbt2018-mean", "adapted", "bmshj2018-factorized", "tuple", "slice")


def test_no_bytes_whatsoever_crash_hang_or_pass_unnoticed(single_threaded):
    """25,000 seeded mutations of real streams, a tenth of them with checksums made right again."""
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), "4600", "480"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=single_threaded)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
    outcomes = Counter(json.loads(done.stdout))
    assert outcomes.total() > 25_000
    assert {outcome.split()[0] for outcome in outcomes} == set(CODECS)
    assert not [outcome for outcome in outcomes if outcome.endswith("damaged image")]
    assert {outcome.split()[-1] for outcome in outcomes} == {"StreamError", "BaseMismatchError", "image"}
