#!/usr/bin/python3
"""What the TLS proxies of deploy/proxy add to an answer's time.

  tests/bench/proxy.py --build BUILD [--requests N] [--rounds N]

A kept risk of one patient, asked for over one kept-alive connection: plain to the daemon, and with TLS
through nginx and HAProxy, in turn round by round on loopback. Prints medians and 99th percentiles of
all requests, and the difference of the medians. A proxy that is not installed is named."""
import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))


def ask(connection, token, n):
    """Seconds of each of n answers."""
    took = []
    for _ in range(n):
        began = time.perf_counter()
        connection.request("GET", "/v1/patients/p1/risks?as_of=2025-01-15", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        took.append(time.perf_counter() - began)
        if answer.status != 200:
            sys.exit(f"the answer is {answer.status}")
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    os.environ["REZEPT_BUILD"] = options.build
    import daemon  # after the build is known
    import proxies
    with tempfile.TemporaryDirectory() as folder:
        token = subprocess.run([daemon.REZEPTD, "token", "create", "--name", "t", "--scopes", "all", "--db",
                                f"{folder}/t.db"], capture_output=True, text=True, check=True).stdout.strip()
        served = daemon.Daemon("--behind-proxy", "--no-rescore", models=f"{daemon.fixture()}/models", folder=folder,
                               wait="/readyz")
        served.token = token
        if served.post("/v1/claims", daemon.claim()).status != 201:
            sys.exit("the claim was not taken")
        ways = {"plain": http.client.HTTPConnection("127.0.0.1", served.port)}
        started = []
        for kind in (proxies.Nginx, proxies.HAProxy):
            if proxies.program(kind.name) is None:
                print(f"{kind.name} is not installed")
                continue
            os.mkdir(f"{folder}/{kind.name}")
            started.append(kind(f"{folder}/{kind.name}", served.port))
            ways[kind.name] = started[-1].connection()
        times = {name: [] for name in ways}
        for name, connection in ways.items():
            ask(connection, token, 50)  # connections, caches
        for _ in range(options.rounds):
            for name, connection in ways.items():
                times[name] += ask(connection, token, options.requests)
        plain = statistics.median(times["plain"])
        print(f"{'way':<10} {'median us':>10} {'p99 us':>10} {'added us':>10}")
        for name, took in times.items():
            median, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
            print(f"{name:<10} {median * 1e6:>10.0f} {p99 * 1e6:>10.0f} {(median - plain) * 1e6:>10.0f}")
        for proxy in started:
            proxy.stop()
        served.stop()


if __name__ == "__main__":
    main()
