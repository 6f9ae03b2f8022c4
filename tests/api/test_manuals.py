#!/usr/bin/python3
"""What the manuals say exists, and what exists is in the manuals: commands, flags, settings."""
import glob
import os
import re
import shutil
import subprocess
import unittest

BUILD = os.path.abspath(os.environ.get("REZEPT_BUILD", "build"))
ROOT = os.path.abspath(os.environ.get("REZEPT_SOURCE_ROOT",
                                      os.path.join(os.path.dirname(__file__), "..", "..")))
PROGRAMS = {"rezept": f"{BUILD}/client/rezept", "rezept-train": f"{BUILD}/models/rezept-train",
            "rezeptd": f"{BUILD}/server/rezeptd"}
MANUALS = {"rezept": f"{ROOT}/client/rezept.1", "rezept-train": f"{ROOT}/models/rezept-train.1",
           "rezeptd": f"{ROOT}/server/rezeptd.8"}
EVERYWHERE = {"help", "version"}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60,
                          env={"PATH": "/usr/bin:/bin"}).stdout


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def flags_of_help(text):
    found = set(re.findall(r"^  --([a-z0-9-]+)", text, re.M))
    return found | {f"no-{name}" for name in found}


def commands_of(program):
    if program == "rezeptd":
        return ["serve", "token"]
    return re.findall(r"^  ([a-z]+)  ", output(PROGRAMS[program], "--help"), re.M)


def all_flags():
    """program -> command -> flags"""
    return {program: {command: flags_of_help(output(PROGRAMS[program], command, "--help"))
                      for command in commands_of(program)} for program in PROGRAMS}


FLAGS = all_flags()
# A user or a service of that name before a program is no program ("runuser -u rezept -- rezeptd token").
WORDS = re.compile(r"(?<![\w/.-])(?:/usr/(?:local/)?bin/)?(rezept-train|rezeptd|rezept)(?= )"
                   r"(?! +(?:-- +)?rezept(?:d|-train)? )"
                   r"((?: +[^\s`|>;&#'\"]+)+)")
# What shell scripts here call the programs.
VARIABLES = {'"$train"': "rezept-train", '"$daemon"': "rezeptd", '"$client"': "rezept"}


def uses(text):
    """(program, command, flags) of every command line in prose or code."""
    if text.startswith("#!"):
        for variable, program in VARIABLES.items():
            text = text.replace(variable, program)
        text = text.replace('"', "")
    text = text.replace("\\\n", " ")
    for found in WORDS.finditer(text):
        program, words = found.group(1), found.group(2).split()
        flags = [m.group(1) for w in words if (m := re.match(r"--([a-z][a-z0-9-]*)", w))]
        yield program, words[0] if words[0] in FLAGS[program] else None, flags


class Manuals(unittest.TestCase):
    def test_every_command_is_in_its_manual(self):
        for program, commands in FLAGS.items():
            page = read(MANUALS[program])
            self.assertGreaterEqual(len(commands), 2)
            for command in commands:
                self.assertRegex(page, rf"(?m)^\.It Cm {command}\b|^\.Cm {command}\b",
                                 f"{program} {command}")

    def test_manuals_name_only_what_exists(self):
        for program, commands in FLAGS.items():
            known = set().union(*commands.values()) | EVERYWHERE
            page, command = read(MANUALS[program]), None
            for line in page.splitlines():
                item = re.match(r"\.It Cm ([a-z]+)", line)
                if item:
                    command = item.group(1)
                    self.assertIn(command, commands, f"{MANUALS[program]}: {line}")
                if line.startswith((".El", ".Sh")):
                    command = None
                for flag in re.findall(r"\bFl -([a-z0-9-]+)", line):
                    if flag.endswith("-"):  # a prefix: "--no-"
                        continue
                    allowed = commands[command] | EVERYWHERE if command else known
                    self.assertIn(flag, allowed, f"{program} {command}: {line}")

    def test_every_flag_of_rezept_is_in_its_manual(self):
        page = set(re.findall(r"\bFl -([a-z0-9-]+)", read(MANUALS["rezept"])))
        for command, flags in FLAGS["rezept"].items():
            for flag in flags:
                self.assertTrue(flag.startswith("no-") or flag in page, f"{command} --{flag}")

    def test_every_setting_of_the_daemon_is_in_its_manual(self):
        page = read(MANUALS["rezeptd"])
        described = dict(re.findall(r"(?m)^\.It Fl -([a-z0-9-]+)(?: Ar \S+)?(?: Pq (\S+))?$", page))
        text = output(PROGRAMS["rezeptd"], "--check-config")
        settings = set(re.findall(r"(?m)^([a-z0-9-]+) += ", text)) - {"blas", "kernels"}
        self.assertGreater(len(settings), 30)
        for name in settings:
            self.assertRegex(page, rf"\bFl -{name}\b")
        for name, default in re.findall(r"(?m)^  --([a-z0-9-]+).*?(?: \[([^\]]*)\])?$",
                                        output(PROGRAMS["rezeptd"], "--help")):
            if name in described:
                self.assertEqual(described[name], default, f"the default of --{name}")
            else:
                self.assertIn(name, {"name", "scopes", "expires"})

    def test_documents_name_only_what_exists(self):
        paths = [p for pattern in ("*.md", "models/*.md", "schema/*.md", "schema/*.yaml",
                                   "deploy/*", "deploy/*/*", "core/rezept.h", "client/*.h")
                 for p in glob.glob(f"{ROOT}/{pattern}")
                 if os.path.isfile(p) and not p.endswith(".png")]
        seen = 0
        for path in paths:
            for program, command, flags in uses(read(path)):
                known = FLAGS[program][command] if command else \
                    set().union(*FLAGS[program].values())
                seen += len(flags)
                for flag in flags:
                    self.assertIn(flag, known | EVERYWHERE, f"{path}: {program} {command} --{flag}")
        self.assertGreater(seen, 15)

    def test_the_readme_names_every_program_with_a_command(self):
        used = {(program, command) for program, command, _ in uses(read(f"{ROOT}/README.md"))}
        for wanted in (("rezept-train", "import"), ("rezept-train", "pretrain"),
                       ("rezept-train", "finetune"), ("rezept-train", "evaluate"),
                       ("rezeptd", "serve")):
            self.assertIn(wanted, used)

    def test_refusals_name_settings_that_exist(self):
        known = FLAGS["rezeptd"]["serve"]
        for path in (f"{ROOT}/schema/openapi.yaml", f"{ROOT}/schema/openapi-schemas.yaml",
                     f"{ROOT}/schema/problems.md"):
            named = set(re.findall(r"\b((?:[a-z]+-)+(?:max|timeout-s|seconds|ms))\b", read(path)))
            self.assertEqual(named - known, set(), path)

    def test_the_parser_sees_wrong_flags(self):
        """The test above could not fail if it found nothing."""
        text = "`rezept-train pretrain --db x \\\n --warp 9` and rezeptd serve --port 1 and rezept's"
        self.assertEqual(list(uses(text)), [("rezept-train", "pretrain", ["db", "warp"]),
                                            ("rezeptd", "serve", ["port"])])
        self.assertEqual(list(uses("runuser -u rezept -- rezeptd token create --warp 9")),
                         [("rezeptd", "token", ["warp"])])
        self.assertEqual(list(uses('#!/bin/sh\n"$train" show "$x" --json')),
                         [("rezept-train", "show", ["json"])])

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_manuals_are_clean(self):
        for path in MANUALS.values():
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], text=True,
                                  capture_output=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()
