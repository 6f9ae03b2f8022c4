#!/usr/bin/python3
"""Risk requests through HTTP: requests/s, p50 and p99 at 1 and 32 clients, for each model.

  tests/bench/serving.py --build BUILD --db DB --models DIR [--model ID …] [--seconds S]
                         [--rounds N] [--size NAME] [--json FILE]

Starts a rezeptd of BUILD on a free loopback port, asks for the risks of every patient on changing
days (so that no answer comes from the score cache), then asks the same paths again (cached), and
stops it. Cached answers are also asked for by 64 connections, and 32 clients are compared with the
same model in the process (bench-predictor). --json appends rows as the other benchmarks do; --size
names the model in them. Needs wrk (deploy/install-packages bench)."""
import argparse
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(options, port):
    daemon = subprocess.Popen(
        [f"{options.build}/server/rezeptd", "serve", "--db", options.db, "--models",
         options.models, "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return daemon
        except OSError:
            if daemon.poll() is not None:
                sys.exit("rezeptd ended at start")
            time.sleep(0.1)
    sys.exit("rezeptd is not ready after 30 s")


def patients(url, wanted):
    found, after = [], None
    while len(found) < wanted:
        page = get(f"{url}/v1/patients?limit=1000" + (f"&after={after}" if after else ""))
        found += [(p["id"], p["facility"]) for p in page["patients"]]
        after = page.get("next")
        if not after:
            break
    return found


def path(person, model, day):
    patient, facility = person
    return (f"/v1/patients/{patient}/risks?facility={facility}&model={model}"
            f"&as_of=2024-{1 + day % 12:02d}-{1 + day // 12 % 28:02d}")


def answered(url, people, model):
    """Those for whom a model runs at all: the dead and the healed cost nothing."""
    return [p for p in people
            if any(r["probability"] is not None for r in get(url + path(p, model, 0))["risks"])]


def measure(url, paths, clients, seconds):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(paths))
        file.flush()
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "serving.lua")
        out = subprocess.run(
            ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url,
             "--", file.name], check=True, capture_output=True, text=True).stdout
    rate, p50, p99, failed = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+)", out).groups()
    return float(rate), float(p50), float(p99), int(failed)


def in_process(options, model):
    """Patients/s of the same model without HTTP, in batches of 32."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        subprocess.run([f"{options.build}/tests/bench/bench-predictor", "--work", "throughput",
                        "--db", options.db, "--model", os.path.join(options.models, model),
                        "--json", file.name], check=True, stdout=subprocess.DEVNULL)
        return json.loads(file.readline())["value"]


def report(options, model, clients, cached, rate, limit):
    """A row; `limit` is the rate in the process, None where that does not compare."""
    if options.json is None:
        return
    row = {"work": "HTTP, cached scores" if cached else "HTTP, cold scores",
           "size": options.size or model, "batch": clients, "precision": "float32", "value": rate,
           "unit": "requests/s", "limit": limit, "ratio": rate / limit if limit else None,
           "goal": None, "ok": None}
    with open(options.json, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--db", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size")
    parser.add_argument("--json")
    options = parser.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    daemon = start(options, port)
    try:
        people = patients(url, options.patients)
        models = options.model or [m["id"] for m in get(f"{url}/v1/models")["models"]
                                   if m["state"] == "ready"]
        print(f"{len(people)} patients; 1 load thread on the same cores; medians of {options.rounds} runs")
        print(f"{'model':<16}{'clients':>8}{'cache':>8}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}"
              f"{'failed':>8}")
        day = 1
        for model in models:
            living = answered(url, people, model)
            for clients in (1, 32, 64):
                for cached in (True,) if clients == 64 else (False, True):
                    runs = []
                    for _ in range(options.rounds):
                        # As many questions as no run asks in its time: none comes twice.
                        days = 1 if cached else max(1, 20000 // len(living))
                        paths = [path(p, model, (day + k) % 336) for k in range(days)
                                 for p in living]
                        day += days
                        random.Random(day).shuffle(paths)
                        if cached:
                            paths = paths[:50]
                            for one in paths:
                                get(url + one)
                        runs.append(measure(url, paths, clients, options.seconds))
                    rate, p50, p99 = (sorted(r[i] for r in runs)[len(runs) // 2] for i in range(3))
                    print(f"{model:<16}{clients:>8}{'warm' if cached else 'cold':>8}{rate:>12.0f}"
                          f"{p50:>9.2f}{p99:>9.2f}{sum(r[3] for r in runs):>8}", flush=True)
                    limit = None
                    if clients == 32 and not cached:
                        limit = in_process(options, model)
                        print(f"{model:<16}{'':>8}{'none':>8}{limit:>12.0f}  in the process", flush=True)
                    report(options, model, clients, cached, rate, limit)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)


if __name__ == "__main__":
    main()
