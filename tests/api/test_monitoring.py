#!/usr/bin/python3
"""Dashboards and alerts name only what exists: every metric and label in deploy/grafana and
deploy/prometheus is looked up in what a real daemon answers at /metrics after real work, or in what a
real backup writes. promtool, where it is installed, checks the language and makes each alert ring."""
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import yaml

import daemon
from daemon import Daemon, claim, fixture

ROOT = os.path.abspath(os.environ.get("REZEPT_SOURCE_ROOT", f"{daemon.HERE}/../.."))
RULES = f"{ROOT}/deploy/prometheus/rules.yml"
SCRAPE = f"{ROOT}/deploy/prometheus/scrape.yml"
DASHBOARD = f"{ROOT}/deploy/grafana/rezept.json"
PROMTOOL = shutil.which("promtool")
OF_PROMETHEUS = {"up", "ALERTS"}  # made by the server itself
TARGET_LABELS = {"job", "instance"}  # given to every series by it
WORDS = set("""sum min max avg count by without on ignoring group_left group_right rate increase changes time
    vector and or unless offset bool histogram_quantile predict_linear label_values""".split())
SELECTOR = re.compile(r'\s*\{((?:[^{}"]|"[^"]*")*)\}')
MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def uses(expression):
    """(metric, {label: (operator, value)}) of every selector, and the labels that it is grouped by."""
    selectors, groups, at = [], set(), 0
    for found in re.finditer(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)", expression):
        groups |= {word.strip() for word in found[1].split(",") if word.strip()}
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)", " ", expression)
    for found in re.finditer(r"[a-zA-Z_:][\w:]*", bare):
        if found.start() < at or found[0] in WORDS:
            continue
        before = bare[found.start() - 1] if found.start() else " "
        if before in "$0123456789.":  # a variable, a duration, an exponent
            continue
        matchers = SELECTOR.match(bare, found.end())
        labels = {}
        if matchers:
            at = matchers.end()
            labels = {name: (operator, value) for name, operator, value in MATCHER.findall(matchers[1])}
        selectors.append((found[0], labels))
    return selectors, groups


def families(text):
    """{series name: [labels, …]} of Prometheus text, and {metric: type}."""
    series, types = {}, dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text))
    for name, labels in re.findall(r"(?m)^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", text):
        series.setdefault(name, []).append(dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)))
    return series, types


def dashboard_texts():
    """(where, expression, labels that its legend shows)"""
    with open(DASHBOARD, encoding="utf-8") as file:
        board = json.load(file)
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]).groups()
            yield f"variable {variable['name']}", metric, {label}
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"], set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))


def rules():
    with open(RULES, encoding="utf-8") as file:
        return [rule for group in yaml.safe_load(file)["groups"] for rule in group["rules"]]


def rule_texts():
    for rule in rules():
        texts = " ".join(rule.get("annotations", {}).values())
        yield rule.get("alert") or rule["record"], rule["expr"], set(re.findall(r"\$labels\.(\w+)", texts))


def faults(texts, series, recorded):
    """What the expressions name that does not exist."""
    bad, known = [], {**series, **{name: [{"instance": ""}] for name in recorded}}
    for where, expression, shown in texts:
        selectors, groups = uses(expression)
        labels_here = set(TARGET_LABELS)
        for metric, matchers in selectors:
            if metric not in known and metric not in OF_PROMETHEUS:
                bad.append(f"{where}: there is no metric {metric}")
                continue
            rows = known.get(metric, [{}])
            labels_here |= set().union(*rows)
            for label, (operator, value) in matchers.items():
                if label in TARGET_LABELS:
                    continue
                if label not in set().union(*rows):
                    bad.append(f"{where}: {metric} has no label {label}")
                elif operator == "=" and label != "code" and all(row.get(label) != value for row in rows):
                    bad.append(f"{where}: {metric} has no {label} \"{value}\"")
                elif operator == "=~" and "$" not in value and label != "code" and not any(
                        re.fullmatch(value, row.get(label, "")) for row in rows):
                    bad.append(f"{where}: {metric} has no {label} like \"{value}\"")
        bad += [f"{where}: nothing there has a label {label}" for label in (groups | shown) - labels_here]
    return bad


class Exported(unittest.TestCase):
    """One daemon that has done everything once."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="rezeptd-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        shutil.copytree(f"{fixture()}/models/risks", f"{cls.folder}/models/risks")
        cls.d = d = Daemon("--rescore-pause-ms", "20", folder=cls.folder, wait="/readyz")
        cls.addClassCleanup(cls.d.stop)
        # First: a model that is loaded again has scored nobody yet, and nobody is scored again for it.
        d.post("/v1/models/risks:load")
        with open(f"{fixture()}/claims.ndjson", encoding="utf-8") as file:
            claims = [json.loads(line) for line in file]
        for i in range(0, len(claims), 10000):
            d.push(claims[i:i + 10000])
        d.post("/v1/claims", claim(1, "x", facility=""))
        d.get("/v1/patients/p1/risks?facility=H1&explain=3")
        d.get("/v1/patients/p1/risks?facility=H1")
        d.get("/v1/risks?task=ckd")
        d.get("/nowhere")
        d.raw(b"GET / HTTP/1.1\r\n\r\n")
        end = time.time() + 90
        while time.time() < end:
            cls.text = d.get("/metrics").body.decode()
            if "rezeptd_input_psi{" in cls.text and "rezeptd_calibration_expected{" in cls.text:
                break
            time.sleep(0.2)
        done = subprocess.run([f"{ROOT}/deploy/backup", "--db", f"{cls.folder}/t.db", "--models",
                               f"{cls.folder}/models", "--to", f"{cls.folder}/backups", "--metrics",
                               f"{cls.folder}/backup.prom"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with open(f"{cls.folder}/backup.prom", encoding="utf-8") as file:
            cls.all = cls.text + file.read()
        cls.series, cls.types = families(cls.all)
        # Where the model is well calibrated by luck or has few outcomes there is no ratio; the other
        # calibration figures have its labels.
        if "rezeptd_calibration_oe_ratio" in cls.types:
            cls.series.setdefault("rezeptd_calibration_oe_ratio", cls.series["rezeptd_calibration_expected"])
        cls.recorded = [rule["record"] for rule in rules() if "record" in rule]

    def test_everything_named_exists(self):
        self.assertGreater(len(self.series), 40)
        self.assertEqual(faults(dashboard_texts(), self.series, self.recorded), [])
        self.assertEqual(faults(rule_texts(), self.series, self.recorded), [])

    def test_what_does_not_exist_is_found(self):
        """The test above could not fail if it found nothing."""
        for text, word in (("rate(rezeptd_http_request_total[5m])", "no metric rezeptd_http_request_total"),
                           ('rezeptd_predict_total{modle="a"}', "no label modle"),
                           ('rezeptd_claims_total{outcome="refuse"}', 'no outcome "refuse"'),
                           ('rezeptd_claims_total{outcome=~"add.d|x"}', None),
                           ('rezeptd_http_requests_total{route=~"/v3.*"}', 'no route like'),
                           ("sum by (task) (rezeptd_input_psi)", "label task"),
                           ("rezept:requests:rate5h", "no metric rezept:requests:rate5h"),
                           ('rezeptd_db_wal_bytes > 1e6 and rezeptd_db_wal_byte offset 5m', "rezeptd_db_wal_byte")):
            found = faults([("here", text, set())], self.series, self.recorded)
            self.assertEqual(len(found), 1 if word else 0, (text, found))
            self.assertIn(word or "", "".join(found))
        self.assertEqual(faults([("here", "up", {"colour"})], self.series, []),
                         ["here: nothing there has a label colour"])

    def test_counters_are_used_as_counters(self):
        for where, expression, _ in [*dashboard_texts(), *rule_texts()]:
            for metric in {m for m, _ in uses(expression)[0]}:
                plain = re.sub("_(sum|count|bucket)$", "", metric)
                kind = self.types.get(metric) or self.types.get(plain)
                growing = kind in ("counter", "histogram")
                if growing and "lost" in metric and "lost" in where:
                    continue  # its plain number is what one looks at
                rated = re.search(rf"(rate|increase)\({metric}\b", expression) is not None
                if growing or kind == "gauge":
                    self.assertEqual(rated, growing and not where.startswith("variable"), f"{where}: {metric} is a {kind}")

    def test_every_status_is_counted_as_itself(self):
        with open(f"{ROOT}/server/metrics.c", encoding="utf-8") as file:
            counted = set(re.findall(r"\d{3}", re.search(r"codes\[CODES\] = \{([^}]*)\}", file.read())[1]))
        answered = {code for path in self.d.get("/openapi.json").json["paths"].values()
                    for method in path.values() if "responses" in method for code in method["responses"]}
        with open(f"{ROOT}/schema/problems.md", encoding="utf-8") as file:
            answered |= set(re.findall(r"(?m)^\| \w+ \| (\d{3}) \|", file.read()))
        self.assertGreater(len(answered), 15)
        self.assertEqual({code for code in answered if code.isdigit()} - counted, set())

    def test_no_patient_in_a_label(self):
        for rows in self.series.values():
            for row in rows:
                self.assertFalse({"patient", "id", "claim"} & set(row), row)

    def test_the_token_of_the_scrape_has_the_scope(self):
        with open(SCRAPE, encoding="utf-8") as file:
            text = file.read()
        job, = yaml.safe_load(text)["scrape_configs"]
        self.assertEqual(job["job_name"], "rezept")
        with open(f"{ROOT}/server/route.c", encoding="utf-8") as file:
            scope = re.search(r'"/metrics", "([a-z:]+)"', file.read())[1]
        self.assertIn(f"--scopes {scope}", text)


class Rules(unittest.TestCase):
    def test_every_alert_says_what_and_how_bad(self):
        alerts = [rule for rule in rules() if "alert" in rule]
        self.assertGreaterEqual(len(alerts), 15)
        self.assertEqual(len({a["alert"] for a in alerts}), len(alerts))
        with open(f"{ROOT}/deploy/OPERATIONS.md", encoding="utf-8") as file:
            manual = file.read()
        for alert in alerts:
            self.assertIn(alert["labels"]["severity"], ("warning", "critical"))
            self.assertIn("{{", alert["annotations"]["summary"])
            self.assertRegex(manual, rf"(?m)^\| {alert['alert']} \|", "what to do stands in OPERATIONS.md")
        for name in re.findall(r"(?m)^\| (Rezept[A-Z]\w+) \|", manual):
            self.assertIn(name, {a["alert"] for a in alerts})

    def test_recorded_names_are_used(self):
        texts = [text for _, text, _ in [*dashboard_texts(), *rule_texts()]]
        for rule in rules():
            if "record" in rule:
                self.assertTrue(any(rule["record"] in text for text in texts), rule["record"])

    def test_each_alert_is_shown_its_case(self):
        with open(f"{ROOT}/tests/data/alerts/rules_test.yml", encoding="utf-8") as file:
            text = file.read()
        for rule in rules():
            if "alert" in rule:
                self.assertGreaterEqual(text.count(rule["alert"]), 2, "one case where it rings, one where not")

    @unittest.skipUnless(PROMTOOL, "promtool is not installed (Debian: prometheus)")
    def test_promtool(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(RULES, f"{folder}/rules.yml")
            shutil.copy(f"{ROOT}/tests/data/alerts/rules_test.yml", folder)
            expressions = [re.sub(r"\$__rate_interval", "5m", text) for _, text, _ in dashboard_texts()]
            with open(f"{folder}/board.yml", "w", encoding="utf-8") as file:
                yaml.safe_dump({"groups": [{"name": "board", "rules": [
                    {"record": f"board:{i}", "expr": text} for i, text in enumerate(expressions)]}]}, file)
            with open(SCRAPE, encoding="utf-8") as file:
                config = file.read().replace("/etc/prometheus/rezept-rules.yml", f"{folder}/rules.yml")
            with open(f"{folder}/prometheus.yml", "w", encoding="utf-8") as file:
                file.write(config.replace("/etc/prometheus/rezept-token", f"{folder}/rules.yml"))
            for command in (["check", "rules", f"{folder}/rules.yml"], ["check", "rules", f"{folder}/board.yml"],
                            ["check", "config", f"{folder}/prometheus.yml"],
                            ["test", "rules", f"{folder}/rules_test.yml"]):
                done = subprocess.run([PROMTOOL, *command], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            # A rule that never rings would pass a test that asks nothing.
            with open(RULES, encoding="utf-8") as file:
                text = file.read()
            broken = text.replace("up{job=\"rezept\"} == 0", "up{job=\"rezept\"} == 7")
            self.assertNotEqual(broken, text)
            with open(f"{folder}/rules.yml", "w", encoding="utf-8") as file:
                file.write(broken)
            done = subprocess.run([PROMTOOL, "test", "rules", f"{folder}/rules_test.yml"], capture_output=True)
            self.assertNotEqual(done.returncode, 0)

    @unittest.skipUnless(PROMTOOL, "promtool is not installed (Debian: prometheus)")
    def test_promtool_reads_what_the_daemon_says(self):
        d = Daemon(models=f"{fixture()}/models", wait="/readyz")
        try:
            text = d.get("/metrics").body
        finally:
            d.stop()
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Files(unittest.TestCase):
    def test_dashboard(self):
        with open(DASHBOARD, encoding="utf-8") as file:
            board = json.load(file)
        ids = [panel["id"] for panel in board["panels"]]
        self.assertEqual(len(set(ids)), len(ids))
        taken = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(taken & cells, panel["title"])
            taken |= cells
        self.assertEqual(glob.glob(f"{ROOT}/deploy/grafana/*"), [DASHBOARD])


if __name__ == "__main__":
    daemon.main()
