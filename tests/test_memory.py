"""What a daemon does about its memory, in a process of its own: it concerns the whole process."""

import subprocess
import sys

PROGRAM = """
import gc
from ovnk import memory

def resident_kb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS:")).split()[1])

memory.begin()
assert gc.get_threshold() == memory.COLLECTOR
kept = []
used = []
for _ in range(20_000):
    used.append(bytearray(2_000))
    kept.append(bytearray(16))
before = resident_kb()
del used
memory.settle_down()
assert gc.get_freeze_count() > 0
assert before - resident_kb() > 20_000, (before, resident_kb())
"""


def test_what_a_start_used_by_the_way_goes_back_to_the_kernel():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
