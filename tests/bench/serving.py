#!/usr/bin/python3
"""Risk requests through HTTP: requests/s, p50 and p99, of each model.

  tests/bench/serving.py --build BUILD --db DB --models DIR [--model ID …] [--seconds S]
                         [--rounds N] [--patients N] [--json FILE]

Starts a rezeptd of BUILD on a free loopback port and asks for patients' risks with wrk:

  cold    on changing days, so that no answer comes from the score cache; 1 and 32 clients. At 32 it
          is held against the same questions in the process (bench-questions)
  cached  50 questions that were asked before; 1 and 64 clients. At 64 it is held against a daemon
          that does nothing but answer bytes of the same number (bench-hello)

What is compared is measured in turn, round by round; all figures are medians. The load runs on the
same cores, the background scorer is off. "By CPU" is the same ratio by the CPU time of the process
that answers: what is left of it when others use the cores too. --json appends rows as the other benchmarks do. Needs wrk (deploy/install-packages
bench)."""
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
         options.models, "--port", str(port), "--no-rescore"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return daemon
        except OSError:
            if daemon.poll() is not None:
                sys.exit("rezeptd ended at start")
            time.sleep(0.1)
    daemon.kill()
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


def date(day):
    return f"2024-{1 + day % 12:02d}-{1 + day // 12 % 28:02d}"


def path(person, model, day):
    patient, facility = person
    return f"/v1/patients/{patient}/risks?facility={facility}&model={model}&as_of={date(day)}"


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


def in_process(options, model, questions, seconds):
    """Patients a second, and a second of CPU, of the same questions without HTTP."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as asked, \
            tempfile.NamedTemporaryFile("r", suffix=".json") as rows:
        asked.writelines(f"{facility} {patient} {date(day)}\n"
                         for (patient, facility), day in questions)
        asked.flush()
        subprocess.run([f"{options.build}/tests/bench/bench-questions", "--questions", asked.name,
                        "--db", options.db, "--model", os.path.join(options.models, model),
                        "--seconds", str(seconds), "--json", rows.name], check=True,
                       stdout=subprocess.DEVNULL)
        row = json.loads(rows.readline())
        return row["value"], row["value_cpu"]


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class Server:
    """A process that is asked over HTTP."""
    def __init__(self, options, process, port):
        self.options = options
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def measure(self, paths, clients):
        """As measure(), and answers a second of the process' CPU."""
        before = cpu_s(self.process.pid)
        rate, p50, p99, failed = measure(self.url, paths, clients, self.options.seconds)
        used = cpu_s(self.process.pid) - before
        return rate, p50, p99, failed, rate * self.options.seconds / used


class Hello(Server):
    """The peer that answers the same bytes to everybody."""
    def __init__(self, options, n_bytes):
        port = free_port()
        # pylint: disable-next=consider-using-with
        super().__init__(options, subprocess.Popen(
            [f"{options.build}/tests/bench/bench-hello", "--port", str(port), "--bytes",
             str(n_bytes)], stdin=subprocess.PIPE), port)
        time.sleep(0.3)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


class Daemon(Server):
    def __init__(self, options):
        port = free_port()
        super().__init__(options, start(options, port), port)
        self.next_day = 1

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def scored(self):
        """Patients that models have answered, also for clients that are gone."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
            return sum(int(line.split()[-1]) for line in answer.read().decode().splitlines()
                       if line.startswith("rezeptd_batch_patients_sum"))

    def measure_scores(self, paths, clients):
        """As measure(), but by CPU counts what was under way when the load ended."""
        scored, before = self.scored(), cpu_s(self.process.pid)
        told = measure(self.url, paths, clients, self.options.seconds)
        last, now = scored, self.scored()
        for _ in range(30):
            if now == last and now > scored:
                break
            time.sleep(1.0)
            last, now = now, self.scored()
        return *told, (now - scored) / (cpu_s(self.process.pid) - before)

    def questions(self, people):
        """As many as no run asks in its time, none of which was asked before."""
        days = max(1, 20000 // len(people))
        asked = [(p, (self.next_day + k) % 336) for k in range(days) for p in people]
        self.next_day += days
        random.Random(self.next_day).shuffle(asked)
        return asked

    def show(self, model, clients, cache, runs, limits, beside):
        """runs: of measure(); limits: of the peer, a second and a second of CPU."""
        rate, p50, p99 = (median(r[i] for r in runs) for i in range(3))
        row = {"work": f"HTTP, {cache} scores", "size": model, "batch": clients,
               "precision": "float32", "value": rate, "unit": "requests/s", "limit": None,
               "ratio": None, "goal": None, "ok": None}
        share = ""
        if limits:
            row["limit"] = median(of for of, _ in limits)
            row["ratio"] = rate / row["limit"]
            row["ratio_cpu"] = median(r[4] for r in runs) / median(cpu for _, cpu in limits)
            row["note"] = f"limit: {beside}"
            share = (f"   {row['ratio']:.2f} (by CPU {row['ratio_cpu']:.2f}) of "
                     f"{row['limit']:.0f}, {beside}")
        print(f"{model:<16}{clients:>8}{cache:>8}{rate:>12.0f}{p50:>9.2f}{p99:>9.2f}"
              f"{sum(r[3] for r in runs):>8}{share}", flush=True)
        if self.options.json is not None:
            with open(self.options.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def cold(self, model, people, clients):
        runs, limits = [], []
        for _ in range(self.options.rounds):
            asked = self.questions(people)
            runs.append(self.measure_scores([path(p, model, day) for p, day in asked], clients))
            if clients == 32:
                limits.append(in_process(self.options, model, asked, self.options.seconds))
        self.show(model, clients, "cold", runs, limits, "the same questions in the process")

    def cached(self, model, people, clients):
        paths = [path(p, model, self.next_day % 336) for p in people[:50]]
        bodies = []
        for one in paths:
            with urllib.request.urlopen(self.url + one, timeout=30) as answer:
                bodies.append(len(answer.read()))
        runs, limits = [], []
        hello = Hello(self.options, sum(bodies) // len(bodies)) if clients == 64 else None
        for _ in range(self.options.rounds):
            runs.append(self.measure(paths, clients))
            if hello is not None:
                rate, _, _, _, by_cpu = hello.measure(paths, clients)
                limits.append((rate, by_cpu))
        if hello is not None:
            hello.close()
        self.show(model, clients, "cached", runs, limits, "libmicrohttpd alone")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--db", required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    daemon = Daemon(options)
    try:
        people = patients(daemon.url, options.patients)
        models = options.model or [m["id"] for m in get(f"{daemon.url}/v1/models")["models"]
                                   if m["state"] == "ready"]
        print(f"{len(people)} patients; 1 load thread on the same cores; medians of "
              f"{options.rounds} runs")
        print(f"{'model':<16}{'clients':>8}{'cache':>8}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}"
              f"{'failed':>8}")
        for model in models:
            living = answered(daemon.url, people, model)
            for clients in (1, 32):
                daemon.cold(model, living, clients)
            for clients in (1, 64) if model == models[0] else ():
                daemon.cached(model, living, clients)
    finally:
        daemon.close()


if __name__ == "__main__":
    main()
