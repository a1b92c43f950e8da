import subprocess
import sys


def test_a_child_whose_parent_has_ended_ends_too():
    script = "from pneumothorax.training.job_process import follow_parent; follow_parent(1 << 30); print(1)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")
