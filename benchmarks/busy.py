"""Other work on the machine: N loops that each keep one core busy, to see what a measurement makes of it.

    python benchmarks/busy.py 2                 # until Ctrl-C or SIGTERM
    python benchmarks/busy.py 2 --seconds 60

Half of a loop's time is Python, half large products, so both the interpreter and the caches are contended for. Every
loop ends with this process, however that ends.
"""

import argparse
import multiprocessing
import os
import signal
import threading
import time

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # one core a loop, before numpy reads it

import numpy as np  # noqa: E402


def burn(parent: int) -> None:
    """Keep one core busy until the process that started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends its loops itself
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    matrix = np.random.default_rng(os.getpid()).standard_normal((400, 400))
    while os.getppid() == parent:
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            matrix @ matrix
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            sum(range(1000))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loops", type=int, help="how many cores to keep busy")
    parser.add_argument("--seconds", type=float, help="stop by itself after this time")
    options = parser.parse_args(argv)
    if options.loops < 1 or (options.seconds is not None and options.seconds <= 0):
        parser.error("at least one loop and more than no seconds")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    context = multiprocessing.get_context("spawn")
    loops = [context.Process(target=burn, args=(os.getpid(),)) for _ in range(options.loops)]
    for loop in loops:
        loop.start()
    print(f"{options.loops} busy loops: {' '.join(str(loop.pid) for loop in loops)}", flush=True)
    stop.wait(options.seconds)
    for loop in loops:
        loop.terminate()
    for loop in loops:
        loop.join()


if __name__ == "__main__":
    main()
