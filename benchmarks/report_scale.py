"""Time and size of the report of a large study: 25 methods, 3 seeds, 10 benchmarks, 5,000 items each.

    python benchmarks/report_scale.py

The tables are made up; only the report is timed. It must take under 60 s and stay under 25 MB.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from unit.report.fake_results import PROVENANCE
from unit.report.large_results import large_config, write_large_results
from vialign.report.build import build_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("methods", 25), ("seeds", 3), ("benchmarks", 10), ("items", 5000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    size = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_large_results(Path(scratch), **size)
        page = folder / "report/index.html"
        start, used = time.perf_counter(), time.process_time()
        build_report(folder, large_config(size["methods"], size["seeds"]), page, PROVENANCE)
        seconds, used = time.perf_counter() - start, time.process_time() - used
        megabytes = page.stat().st_size / 1e6
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{size}: {seconds:.1f} s ({used:.1f} s of one core), page {megabytes:.1f} MB")
    print(f"at most {memory:.0f} MB of memory, with making the tables")


if __name__ == "__main__":
    main()
