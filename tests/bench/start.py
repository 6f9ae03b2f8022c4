#!/usr/bin/python3
"""Start of a process to its first score, the checkpoint being in the page cache.

  tests/bench/start.py --build BUILD [--build OTHER …] --db DB --models DIR --model ID
                       [--rounds N] [--json FILE]

In the process: bench-predictor --score, until it prints a risk. Through HTTP: rezeptd on a free
loopback port with DIR, until a stored patient's risk is answered with 200. Both in turn, medians;
several builds are compared in turn. --json appends rows of the first build as the other benchmarks
do."""
import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import serving

WITHIN_S = 60.0
POLL_S = 0.02  # asking without a pause takes a core from the loading that is measured


def in_process(build, folder):
    began = time.perf_counter()
    program = subprocess.Popen([f"{build}/tests/bench/bench-predictor", "--score", folder],
                               stdout=subprocess.PIPE, text=True)
    line = program.stdout.readline()
    took = time.perf_counter() - began
    program.stdout.close()
    if program.wait() != 0 or not 0.0 <= float(line) <= 1.0:
        sys.exit(f"bench-predictor gave no score: {line}")
    return took


def first_answer(url):
    """The risks of the first request that is answered with 200."""
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=WITHIN_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as problem:
            if problem.code != 503:
                sys.exit(f"{url}: {problem.code} {problem.read().decode()}")
        except OSError:
            pass
        time.sleep(POLL_S)
    sys.exit(f"no risk was answered within {WITHIN_S:.0f} s")


def through_http(build, options, path):
    port = serving.free_port()
    began = time.perf_counter()
    daemon = subprocess.Popen(
        [f"{build}/server/rezeptd", "serve", "--db", options.db, "--models", options.models,
         "--port", str(port), "--no-rescore"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first_answer(f"http://127.0.0.1:{port}{path}")
        return time.perf_counter() - began
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)


def somebody(options):
    """The path of a patient's risks for whom the model runs."""
    options.port = serving.free_port()
    daemon = serving.start(options, options.port)
    try:
        url = f"http://127.0.0.1:{options.port}"
        people = serving.answered(url, serving.patients(url, 50)[:50], options.model)
        if not people:
            sys.exit("none of the first 50 patients has a risk")
        return serving.path(people[0], options.model, 1)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", required=True, action="append")
    parser.add_argument("--db", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    builds = options.build
    options.build = builds[0]
    path = somebody(options)
    folder = os.path.join(options.models, options.model)
    took = {(b, way): [] for b in builds for way in ("in the process", "through HTTP")}
    for _ in range(options.rounds):
        for build in builds:
            took[build, "in the process"].append(in_process(build, folder))
            took[build, "through HTTP"].append(through_http(build, options, path))
    for (build, way), runs in took.items():
        median = sorted(runs)[len(runs) // 2]
        print(f"start to first score {way:<16}{options.model:<8}{median:>8.3f} s"
              f"  (least {min(runs):.3f}, most {max(runs):.3f})  {build if len(builds) > 1 else ''}")
        if options.json is not None and build == builds[0]:
            row = {"work": f"start to first score, {way}", "size": options.model,
                   "batch": None, "precision": "float32", "value": median, "unit": "s",
                   "limit": None, "ratio": None, "goal": None, "ok": None,
                   "note": "checkpoint in the page cache, digests checked"}
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
