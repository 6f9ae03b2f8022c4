#!/usr/bin/python3
"""Another program's view: what is installed compiles, links and answers as the daemon does."""
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import daemon
from daemon import Daemon

ROOT = os.path.abspath(os.environ.get("REZEPT_SOURCE_ROOT", f"{daemon.HERE}/../.."))
SANITIZE = os.environ.get("REZEPT_SANITIZE", "none")
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def example(header):
    """The code of the comment that opens a header."""
    with open(header, encoding="utf-8") as file:
        comment = file.read().split("*/")[0]
    return "".join(f"{line}\n" for line in re.findall(r"(?m)^ \*     (.*)$|^ \*$", comment))


ASK = """
#include <rezept.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print(const rezept_risk *risks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%s|%.6g|%.6g|%.6g|%.6g|%u|%u|%u|%s\\n", risks[i].task, risks[i].probability,
               risks[i].low, risks[i].high, risks[i].age_sex_average, (unsigned)risks[i].similar_n,
               (unsigned)risks[i].similar_positives, (unsigned)risks[i].unmapped, risks[i].reason);
}

/* ask DB MODEL FACILITY|- PATIENT|- DAY: a stored patient, or claims from standard input. */
int main(int argc, char **argv)
{
    rz_error error = {0};
    rezept *handle = NULL;
    rezept_risk risks[REZEPT_RISKS_MAX];
    size_t n = 0, length = 0;
    char *text = NULL;
    rz_status status = argc == 6 ? rezept_open(argv[1], argv[2], 1, &handle, &error) : RZ_E_USAGE;
    if (status == RZ_OK && strcmp(argv[4], "-") == 0) {
        /* In a block of just its size, so that reading past it is seen. */
        static char bytes[1 << 20];
        length = fread(bytes, 1, sizeof bytes, stdin);
        text = malloc(length > 0 ? length : 1);
        memcpy(text, bytes, length);
        status = rezept_risks_of_claims(handle, text, length, argv[5], risks, &n, &error);
    } else if (status == RZ_OK) {
        status = rezept_risks(handle, strcmp(argv[3], "-") == 0 ? NULL : argv[3], argv[4], argv[5],
                              risks, &n, &error);
    }
    print(risks, n);
    if (status != RZ_OK)
        fprintf(stderr, "%s\\n", error.text);
    free(text);
    rezept_close(handle);
    return rz_status_exit_code(status);
}
"""

CLIENT = """
#include <rezept_client.h>

int main(int argc, char **argv)
{
    rz_error error = {0};
    rz_client_options options = rz_client_options_defaults();
    rz_client *client = NULL;
    rz_reply reply = {0};
    rz_push push = rz_push_defaults();
    rz_push_counts counts = {0};
    options.url = argc > 1 ? argv[1] : "";
    rz_status status = rz_client_setup();
    if (status == RZ_OK)
        status = rz_client_open(&options, &client, &error);
    if (status == RZ_OK)
        status = rz_client_push(client, stdin, &push, &counts, &error);
    if (status == RZ_OK)
        status = rz_client_call(client, "GET", "/v1/patients", NULL, NULL, 0, &reply, &error);
    if (status == RZ_OK)
        printf("%d %d\\n", (int)counts.added,
               (int)json_array_size(json_object_get(reply.json, "patients")));
    else
        fprintf(stderr, "%s\\n", error.text);
    rz_reply_done(&reply);
    rz_client_close(client);
    return rz_status_exit_code(status);
}
"""


class Installation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="rezept-install-")
        cls.addClassCleanup(cls.folder.cleanup)
        out = f"{cls.folder.name}/root"
        run("meson", "install", "-C", daemon.BUILD, "--no-rebuild", "--destdir", out)
        cls.files = sorted(os.path.relpath(os.path.join(folder, name), out)
                           for folder, _, names in os.walk(out) for name in names)
        cls.root = out
        # What a packager does when the files move: the prefix of the .pc files follows.
        for name in cls.files:
            if name.endswith(".pc"):
                with open(f"{out}/{name}", encoding="utf-8") as file:
                    text = file.read()
                with open(f"{out}/{name}", "w", encoding="utf-8") as file:
                    file.write(re.sub("(?m)^prefix=", f"prefix={out}", text))
                cls.pc_folder = os.path.dirname(f"{out}/{name}")

    def flags(self, package, *kinds):
        return run("pkg-config", *kinds, package,
                   env={"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": self.pc_folder}).split()

    def build(self, name, source, package, static=True):
        path = f"{self.folder.name}/{name}"
        with open(f"{path}.c", "w", encoding="utf-8") as file:
            file.write(source)
        extra = [] if SANITIZE == "none" else [f"-fsanitize={SANITIZE}"]
        run("cc", *STRICT, *extra, *self.flags(package, "--cflags"), "-o", path, f"{path}.c",
            *self.flags(package, "--libs", *(["--static"] if static else [])))
        return path

    def include(self):
        return next(f"{self.root}/{os.path.dirname(n)}" for n in self.files if n.endswith("/rezept.h"))


class Files(Installation):
    def test_what_is_installed(self):
        names = {os.path.basename(n) for n in self.files}
        wanted = {"rezept", "rezept-train", "rezeptd", "rezept.h", "rezept_client.h", "librezept.a",
                  "librezept-client.a", "rezept.pc", "rezept-client.pc", "rezept.1",
                  "rezept-train.1", "rezeptd.8"}
        self.assertEqual(wanted - names, set())
        self.assertEqual([n for n in self.files if n.endswith(".h") and
                          os.path.basename(n) not in wanted], [])
        for manual in ("man1/rezept.1", "man1/rezept-train.1", "man8/rezeptd.8"):
            self.assertTrue(any(n.endswith(manual) for n in self.files), manual)

    def test_headers_need_only_installed_headers(self):
        for package, header in (("rezept", "rezept.h"), ("rezept-client", "rezept_client.h")):
            with open(f"{self.include()}/{header}", encoding="utf-8") as file:
                quoted = re.findall(r'(?m)^#include "(.*)"', file.read())
            self.assertEqual(quoted, [])
            flags = [f for f in self.flags(package, "--cflags") if ROOT not in f]
            run("cc", *STRICT, "-fsyntax-only", "-x", "c", *flags, f"{self.include()}/{header}")

    @unittest.skipUnless(shutil.which("g++"), "g++ is not installed")
    def test_headers_are_cplusplus_too(self):
        source = f"{self.folder.name}/both.cpp"
        with open(source, "w", encoding="utf-8") as file:
            file.write("#include <rezept.h>\n#include <rezept_client.h>\n"
                       "int main() { rz_error e{}; return rz_status_exit_code(e.status); }\n")
        run("g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
            *self.flags("rezept-client", "--cflags"), source)
        for header in ("rezept.h", "rezept_client.h"):
            with open(f"{self.include()}/{header}", encoding="utf-8") as file:
                self.assertIn('extern "C"', file.read())

    def test_the_example_of_the_library(self):
        """As written in the header, linked with and without --static (the library is static)."""
        code = example(f"{self.include()}/rezept.h")
        self.assertIn("int main(void)", code)
        for static in (True, False):
            path = self.build("example", code, "rezept", static)
        done = subprocess.run([path], cwd=self.folder.name, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 4, done.stderr)  # there is no rezept.db
        self.assertIn("rezept.db", done.stderr)

    def test_the_example_of_the_client(self):
        code = example(f"{self.include()}/rezept_client.h")
        self.assertIn("rz_client_call", code)
        for static in (True, False):
            self.build("client-example", "#include <rezept_client.h>\n"
                       "static void use(const json_t *json) { (void)json; }\n"
                       "int main(void)\n{\n" + code + "    return 0;\n}\n", "rezept-client", static)


class Answers(Installation):
    """The library and the daemon, asked the same, answer the same."""

    DAY = "2024-06-30"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = Daemon(models=f"{daemon.fixture()}/models", wait="/readyz")
        cls.addClassCleanup(cls.daemon.stop)
        with open(f"{daemon.fixture()}/claims.ndjson", encoding="utf-8") as file:
            cls.claims = [json.loads(next(file)) for _ in range(36 * 40)]
        answer = cls.daemon.push(cls.claims)
        assert answer.json["counts"]["added"] == 36 * 40, answer.body[:1000]

    def ask(self, facility, patient, day=DAY, claims="", code=0):
        done = subprocess.run([self.ask_program, f"{self.daemon.folder}/t.db",
                               f"{daemon.fixture()}/models/risks", facility, patient, day],
                              input=claims, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr if code else [line.split("|") for line in done.stdout.splitlines()]

    def compare(self, rows, risks):
        self.assertEqual([r[0] for r in rows], [r["task"] for r in risks])
        for row, risk in zip(rows, risks):
            self.assertEqual(row[8], risk.get("reason", ""))
            if risk["probability"] is None:
                self.assertTrue(math.isnan(float(row[1])), row)
                continue
            wanted = [risk["probability"], *risk["interval"], risk["average_age_sex"],
                      risk["similar"]["n"], risk["similar"]["positives"], risk["unmapped_codes"]]
            self.assertEqual([float(x) for x in row[1:8]], wanted, row)

    def test_same_numbers(self):
        type(self).ask_program = self.build("ask", ASK, "rezept")
        kinds = set()
        for number in range(0, 40):
            own = [c for c in self.claims if c["patient"]["id"] == f"p{number}"]
            facility = own[0]["facility"]
            stored = self.daemon.get(f"/v1/patients/p{number}/risks?model=risks&as_of={self.DAY}").json
            inline = self.daemon.post(f"/v1/predict?model=risks&as_of={self.DAY}", {"claims": own}).json
            kinds |= {r.get("reason", "risk") for r in stored["risks"]}
            if number % 8 and all(r["probability"] is not None for r in stored["risks"]):
                continue  # opening a model takes a while
            self.compare(self.ask(facility if number % 2 else "-", f"p{number}"), stored["risks"])
            self.compare(self.ask("-", "-", claims="".join(json.dumps(c) + "\n" for c in own)),
                         inline["risks"])
        self.assertTrue({"risk", "already_recorded"} <= kinds, kinds)

        own = json.dumps(self.claims[0])
        other = json.dumps(self.claims[36])
        self.ask("-", "nobody", code=4)
        self.ask("-", "p0", day="2024-02-30", code=3)
        for text, what in (("", "no claims"), ("   ", "no claims"), ("\n\n\t", "no claims"),
                           (f"{own}\n{other}\n", "line 2: another patient"),
                           (f"\n{own}\n{{\n", "line 3: "), (f"{own}   x", "line 1: ")):
            with self.subTest(text[-20:]):
                self.assertIn(what, self.ask("-", "-", claims=text, code=3))
        rows = self.ask("-", "-", day=self.claims[0]["end"], claims=f"{own}\n   ")
        self.assertEqual({r[8] for r in rows}, {"short_history"})

    def test_the_client_library(self):
        program = self.build("client", CLIENT, "rezept-client")
        url = f"http://127.0.0.1:{self.daemon.port}"
        lines = json.dumps(daemon.claim(1, "lib1")) + "\n"
        self.assertRegex(run(program, url, input=lines), r"^1 \d+\n$")
        done = subprocess.run([program, "gopher://x"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    daemon.main()
