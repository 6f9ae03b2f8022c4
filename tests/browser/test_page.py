#!/usr/bin/python3
"""The clinicians' page as Debian's Chromium shows it, with a real daemon behind it."""
import json
import os
import random
import subprocess
import sys
import time
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
import chromium  # noqa: E402
from daemon import REZEPTD, Daemon, claim, fixture, main  # noqa: E402

SCRIPT = "<img src=x onerror=hacked=1>"
ODD = "a/b?c=d&e#f%41 \"<b>'\\日本;+,"
AXE = os.environ.get("REZEPT_AXE", "")
CODES = ["I10", "E119", "E785", "J069", "M545", "K219", "H259", "L309"]


def histories(n, seed=7):
    """Claims of n patients, every second month of the last four years."""
    source = random.Random(seed)
    today = time.gmtime()
    for number in range(n):
        sex, birth = source.choice("FM"), 1935 + source.randrange(50)
        for month in range(0, 48, 2):
            at = today.tm_year * 12 + today.tm_mon - 2 - 48 + month
            day = f"{at // 12}-{at % 12 + 1:02d}-{source.randrange(1, 28):02d}"
            made = claim(month, f"p{number}", f"H{number % 3}", start=day, end=day, known=day,
                         diagnoses=[{"system": "icd10", "code": source.choice(CODES), "date": day}])
            made["patient"].update(sex=sex, birth_date=f"{birth}-04-01")
            yield made


def hash_of(view, **query):
    return f"#/{view}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"


def hundred(share):
    value = 100 * share
    return "<0.1" if 0 < value < 0.05 else f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}"


@unittest.skipIf(chromium.PROGRAM is None, "chromium is not installed (deploy/install-packages test)")
class BrowserCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = chromium.Browser()
        cls.models = f"{fixture()}/models"

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def tab(self, daemon, address="", **more):
        page = chromium.Page(self.browser, **more)
        self.addCleanup(self.look_back, page, daemon)
        page.url = f"http://127.0.0.1:{daemon.port}/"
        page.open(page.url + address)
        return page

    def look_back(self, page, daemon):
        self.assertEqual(page.mistakes(), [])
        elsewhere = [url for url in page.asked() if not url.startswith((f"http://127.0.0.1:{daemon.port}/", "about:", "data:"))]
        self.assertEqual(elsewhere, [], "the page asks its own daemon and nobody else")
        page.close()

    def daemon_with(self, *flags, models=True, wait="/readyz"):
        daemon = Daemon(*flags, models=self.models if models else None, wait=wait)
        self.addCleanup(lambda: self.assertEqual(daemon.stop(), 0))
        return daemon


class Filled(BrowserCase):
    """A store of patients with scores."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if chromium.PROGRAM is None:
            return
        cls.daemon = Daemon(models=cls.models, wait="/readyz")
        answer = cls.daemon.push(list(histories(70)))
        assert answer.status == 200, answer.body[:500]
        extra = [claim(1, ODD), claim(1, "known", diagnoses=[{"system": "icd10", "code": "N189", "date": "2024-05-01"}]),
                 claim(1, "twice", "H1"), claim(1, "twice", "H2"),
                 claim(1, "scripted", diagnoses=[{"system": "local", "code": SCRIPT, "date": "2024-05-01"},
                                                 {"system": "icd10", "code": "I10", "date": "2022-01-01"}])]
        for one in extra:
            answer = cls.daemon.post("/v1/claims", one)
            assert answer.status == 201, answer.body
        end = time.time() + 120
        while time.time() < end:
            counts = cls.daemon.get("/v1/risks").json
            if counts["unscored"] == 0 and counts["stale"] == 0 and counts["scored"] > 0:
                break
            time.sleep(0.2)
        else:
            raise AssertionError(f"not scored: {counts}")

    @classmethod
    def tearDownClass(cls):
        code = cls.daemon.stop()
        super().tearDownClass()
        assert code == 0, code

    def worklist(self, **query):
        return self.daemon.get(f"/v1/risks?{urllib.parse.urlencode(query)}").json

    def test_worklist(self):
        page = self.tab(self.daemon)
        page.settled()
        rows = self.worklist(limit=50)["risks"]
        shown = page.run("[...document.querySelectorAll('.worklist tbody tr')].map(r => [r.querySelector('a').innerText,"
                         " r.querySelector('.frequency b').textContent, [...r.querySelectorAll('td.number')].at(-1).innerText.trim()])")
        self.assertEqual(len(shown), 50)
        for row, (patient, risk, above) in zip(rows, shown):
            sign = "−" if row["excess"] < 0 else "+"
            self.assertEqual((patient, risk, above), (row["patient"], hundred(row["probability"]), sign + hundred(abs(row["excess"]))))
        self.assertIn("not a diagnosis", page.text("#intended"))
        self.assertIn("0 stale", page.text(".standing"))
        page.click(".standing summary")
        reasons = self.worklist()["left_out_reasons"]
        self.assertEqual(reasons["already_recorded"], 1)
        self.assertIn("Already recorded\n1", page.text(".standing"))

    def test_filters_and_pages(self):
        page = self.tab(self.daemon)
        page.settled()
        for selector, value in (("[name=task]", "ckd"), ("[name=facility]", "H1"), ("[name=age_min]", "60"), ("[name=sort]", "probability")):
            page.choose(selector, value)
            page.settled()
        asked = {"task": "ckd", "facility": "H1", "age_min": 60, "sort": "probability"}
        answer = self.worklist(**asked)
        page.wait(f"document.querySelectorAll('.worklist tbody tr').length === {answer['matching']}")
        self.assertEqual(page.text(".worklist tbody th a").splitlines(), [row["patient"] for row in answer["risks"]])
        self.assertEqual(page.run("location.hash"), hash_of("worklist", **asked))
        page.open(page.url + "#/worklist")
        page.settled()
        page.click(".pager button:last-child")
        page.wait("document.querySelector('.pager span').innerText.startsWith('51 to')")
        self.assertEqual(page.text(".worklist tbody th a").splitlines(), [row["patient"] for row in self.worklist(offset=50, limit=50)["risks"]])
        page.choose("[name=age_min]", "149")
        page.wait("document.querySelector('.empty')?.innerText.includes('No risk fits')")

    def test_patient(self):
        row = self.worklist()["risks"][0]
        address = hash_of("patient", id=row["patient"], facility=row["facility"], task=row["task"])
        page = self.tab(self.daemon, address)
        page.settled()
        headings = page.run("[...document.querySelectorAll('main h2')].map(h => h.id)")
        self.assertEqual(headings, ["window", "risks", "why", "trend", "timeline", "unknown", "model", "feedback"])
        risks = self.daemon.get(f"/v1/patients/{row['patient']}/risks?facility={row['facility']}&explain=8").json["risks"]
        given = sorted((r for r in risks if r["probability"] is not None), key=lambda r: r["average_age_sex"] - r["probability"])
        self.assertEqual(page.run("[...document.querySelectorAll('.risks .frequency b')].map(b => b.textContent)"),
                         [hundred(r["probability"]) for r in given])
        risk = next(r for r in given if r["task"] == row["task"])
        signs = {True: [c["code"] for c in risk["contributions"] if c["logit_change"] > 0][:5],
                 False: [c["code"] for c in risk["contributions"] if c["logit_change"] < 0][:5]}
        shown = page.run("[...document.querySelectorAll('.side')].map(s => [...s.querySelectorAll('.code code')].map(c => c.textContent))")
        self.assertEqual(shown, [signs[True], signs[False]])
        page.wait("document.querySelector('#trend').closest('section').querySelector('canvas')")
        points = self.daemon.get(f"/v1/patients/{row['patient']}/trend?facility={row['facility']}&task={row['task']}").json["points"]
        self.assertEqual(page.run("document.querySelectorAll('#trend, section[aria-labelledby=trend] tbody tr').length - 1"), len(points))
        page.wait("document.querySelector('.timeline svg text')")
        self.assertIn(risk["model"]["sha256"][:12], page.text("section[aria-labelledby=model]"))

    def test_feedback_is_kept(self):
        row = self.worklist()["risks"][1]
        page = self.tab(self.daemon, hash_of("patient", id=row["patient"], facility=row["facility"], task=row["task"]))
        page.settled()
        page.wait("document.querySelector('.feedback').innerText.includes('Nobody has said')")
        page.choose("#verdict-reason", "under_treatment")
        page.click(".verdict button:nth-child(2)")
        page.wait("document.querySelector('.feedback').innerText.includes('dismissed (under treatment) by')")
        kept = self.daemon.get(f"/v1/feedback?patient={row['patient']}&facility={row['facility']}").json["feedback"]
        self.assertEqual([(k["verdict"], k["reason"], k["task"]) for k in kept], [("dismiss", "under_treatment", row["task"])])

    def test_any_character_and_scripts(self):
        page = self.tab(self.daemon, hash_of("patient", id=ODD))
        page.settled()
        self.assertEqual(page.text("h1"), f"Patient {ODD}")
        self.assertNotIn(urllib.parse.quote(ODD), page.run("location.pathname + location.search"))
        page.open(page.url + hash_of("patient", id="scripted"))
        page.settled()
        page.click("section[aria-labelledby=timeline] details summary")
        self.assertIn(SCRIPT, page.text("section[aria-labelledby=timeline]"))
        page.open(page.url + hash_of("patient", id=SCRIPT))
        page.wait("document.querySelector('.failure')?.innerText.includes('No claim of such a patient')")
        self.assertIsNone(page.run("window.hacked ?? null"))
        page.open(page.url + hash_of("patient", id=".."))
        page.wait("document.querySelector('.failure')?.innerText.includes('only dots')")
        page.open(page.url + hash_of("patient", id="twice"))
        page.wait("document.querySelectorAll('main li a').length === 2")
        self.assertIn("Which is meant?", page.text("main"))
        page.open(page.url + "#/nonsense")
        page.wait("document.querySelector('main').innerText.includes('nothing at this address')")

    def test_japanese(self):
        page = self.tab(self.daemon, language="ja")
        page.settled()
        self.assertEqual((page.run("document.documentElement.lang"), page.text("h1")), ("ja", "ワークリスト"))
        self.assertIn("診断ではありません", page.text("#intended"))
        row = self.worklist()["risks"][0]
        page.open(page.url + hash_of("patient", id=row["patient"], facility=row["facility"]))
        page.settled()
        self.assertRegex(page.text(".risks"), "100人中")
        page.run("document.querySelector('.languages [lang=en]').click()")
        page.wait("document.querySelector('h1').innerText.startsWith('Patient')")
        page.open(page.url)  # the choice is remembered
        page.settled()
        self.assertEqual(page.text("h1"), "Worklist")

    def test_keyboard_alone(self):
        page = self.tab(self.daemon)
        page.settled()
        page.key("Tab")
        self.assertEqual(page.run("document.activeElement.id"), "skip")
        for _ in range(40):
            page.key("Tab")
            if page.run("document.activeElement.closest('.worklist') !== null"):
                break
        page.key("Enter")
        page.wait("location.hash.startsWith('#/patient') && document.querySelector('.risks')")
        page.settled()
        for _ in range(40):
            page.key("Tab")
            if page.run("document.activeElement.matches('.risks li:not(.chosen) .name')"):
                break
        name = page.run("document.activeElement.firstChild.textContent")
        page.key("Enter")
        page.wait(f"document.querySelector('#why').innerText.includes({json.dumps(name)})")
        self.assertTrue(page.run("document.activeElement.matches('.risks .name[aria-pressed=true]')"), "the focus stays")

    def test_models_and_card(self):
        page = self.tab(self.daemon, "#/models?id=risks")
        page.settled()
        calibrations = self.daemon.get("/v1/models/risks").json["calibrations"].values()
        self.assertEqual(page.run("document.querySelectorAll('.task .figure:first-child tbody tr').length"),
                         sum(len(c["figures"]["bins"]) for c in calibrations))
        self.assertIn("No study chose these models", page.text("section[aria-labelledby=study]"))
        page.click("main a[href^='#/card']")
        page.wait("document.querySelector('article.card h1')")
        self.assertIn("Decision support for research use", page.text("article.card"))

    def test_print(self):
        row = self.worklist()["risks"][0]
        page = self.tab(self.daemon, hash_of("patient", id=row["patient"], facility=row["facility"]))
        page.settled()
        pdf = page.pdf()
        self.assertRegex(pdf, rb"/MediaBox \[0 0 59[45][.0-9]* 84[12][.0-9]*\]")
        page.call("Emulation.setEmulatedMedia", media="print")
        self.assertEqual(page.run("getComputedStyle(document.querySelector('.verdict')).display"), "none")
        self.assertNotEqual(page.run("getComputedStyle(document.querySelector('#intended')).display"), "none")

    def test_narrow(self):
        row = self.worklist()["risks"][0]
        for address in ("#/worklist", hash_of("patient", id=row["patient"], facility=row["facility"]), "#/models"):
            page = self.tab(self.daemon, address, width=400, height=800)
            page.settled()
            self.assertLessEqual(page.run("document.documentElement.scrollWidth"), 400, address)

    @unittest.skipUnless(os.path.isfile(AXE), "axe-core is not here: npm install axe-core, then REZEPT_AXE=…/axe.min.js")
    def test_accessible(self):
        row = self.worklist()["risks"][0]
        with open(AXE, encoding="utf-8") as file:
            source = file.read()
        for address in ("#/worklist", hash_of("patient", id=row["patient"], facility=row["facility"]), "#/models", "#/card?id=risks"):
            for language in ("en", "ja"):
                page = self.tab(self.daemon, address, language=language)
                page.settled()
                page.run(source)
                found = page.run("axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]))")
                self.assertEqual(found, [], f"{address} {language}")


class Edges(BrowserCase):
    def test_empty_store_and_no_model(self):
        for models, text in ((True, "The store is empty"), (False, "no model is ready")):
            page = self.tab(self.daemon_with(models=models, wait="/readyz" if models else "/livez"))
            page.wait(f"document.querySelector('.empty, .failure')?.innerText.includes({json.dumps(text)})")

    def test_daemon_goes_and_comes(self):
        daemon = self.daemon_with()
        page = self.tab(daemon)
        page.settled()
        daemon.process.terminate()
        daemon.process.wait(60)
        page.click("a[href='#/models']")
        page.wait("document.querySelector('#notice').innerText.includes('has not answered')")
        self.assertIn("does not answer", page.text("main"))
        with open(daemon.log_path, "ab") as log:
            daemon.process = subprocess.Popen(daemon.command, stderr=log, stdout=log)
        page.wait("document.querySelector('#notice').childElementCount === 0 && document.querySelector('h1').innerText === 'Models'")

    def test_tokens(self):
        daemon = self.daemon_with(wait="/readyz")
        made = {}
        for name, scopes in (("ward", "patients:read,risks:read"), ("ops", "metrics:read")):
            out = subprocess.run([REZEPTD, "token", "create", "--name", name, "--scopes", scopes, "--db", f"{daemon.folder}/t.db"],
                                 capture_output=True, text=True, check=True).stdout
            made[name] = out.strip().split()[-1]
        page = self.tab(daemon)
        for token, text in (("nonsense", "not accepted"), (made["ops"], "lacks the scope risks:read")):
            page.wait("document.querySelector('#token')")
            page.run("document.querySelector('#token').focus()")
            page.type(token)
            page.key("Enter")
            page.wait(f"document.querySelector('main').innerText.includes({json.dumps(text)})")
        page.run("[...document.querySelectorAll('.right button')].at(0).click()")
        page.wait("document.querySelector('#token')")
        page.type(made["ward"])
        page.key("Enter")
        page.wait("document.querySelector('h1').innerText === 'Worklist' && document.querySelector('.empty')")
        self.assertNotIn(made["ward"], page.run("JSON.stringify(localStorage) + document.cookie + location.href"))
        subprocess.run([REZEPTD, "token", "revoke", "--name", "ward", "--db", f"{daemon.folder}/t.db"], capture_output=True, check=True)
        page.click("a[href='#/models']")
        page.wait("document.querySelector('#token') && document.querySelector('main').innerText.includes('not valid any more')")

    def test_scopes_are_told(self):
        daemon = self.daemon_with()
        daemon.push(list(histories(1)))
        out = subprocess.run([REZEPTD, "token", "create", "--name", "reader", "--scopes", "risks:read", "--db", f"{daemon.folder}/t.db"],
                             capture_output=True, text=True, check=True).stdout
        page = self.tab(daemon)
        page.wait("document.querySelector('#token')")
        page.type(out.strip().split()[-1])
        page.key("Enter")
        page.settled()
        page.run(f"location.hash = {json.dumps(hash_of('patient', id='p0'))}")
        page.wait("document.querySelector('.risks')")
        page.settled()
        for scope in ("patients:read", "feedback:write", "feedback:read"):
            self.assertIn(f"lacks the scope {scope}", page.text("main"))

    def test_titles_of_codes_stay_text(self):
        plain = self.daemon_with(models=False, wait="/livez")
        if "/v1/codes" not in plain.get("/openapi.json").json["paths"]:
            self.skipTest("this daemon knows no titles of codes")
        path = f"{plain.folder}/titles.csv"
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"system,code,title,title_ja\nicd10,I10,{SCRIPT},高血圧\n")
        daemon = self.daemon_with("--code-titles", path)
        self.assertEqual(daemon.post("/v1/claims", claim(1)).status, 201)
        page = self.tab(daemon, hash_of("patient", id="p1"))
        page.settled()
        page.click("section[aria-labelledby=timeline] details summary")
        page.wait(f"document.querySelector('section[aria-labelledby=timeline]').innerText.includes({json.dumps(SCRIPT)})")
        self.assertIsNone(page.run("window.hacked ?? null"))

    def test_twenty_thousand_events(self):
        daemon = self.daemon_with()
        codes = [f"{letter}{number:02d}" for letter in "ABCDEFGHIJ" for number in range(100)]
        pushed = 0
        for month in range(20):
            day = f"{2022 + month // 12}-{month % 12 + 1:02d}-10"
            many = [{"system": "icd10", "code": code, "date": day} for code in codes]
            answer = daemon.post("/v1/claims", claim(month, "long", start=day, end=day, known=day, diagnoses=many))
            self.assertEqual(answer.status, 201, answer.body[:300])
            pushed += len(many)  # and an encounter a claim
        page = self.tab(daemon, hash_of("patient", id="long"))
        page.settled()
        page.wait("document.querySelector('.timeline svg')")
        self.assertIn(f"{pushed + 20:,}", page.text("section[aria-labelledby=window]"))
        self.assertLess(page.run("document.querySelectorAll('.timeline svg *').length"), 3000)
        self.assertEqual(page.run("document.querySelectorAll('section[aria-labelledby=timeline] tbody tr').length"), 200)


if __name__ == "__main__":
    main()
