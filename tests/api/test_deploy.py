#!/usr/bin/python3
"""deploy/install into a folder and away again, the units before systemd's own judges, the container file
part by part, the scripts before shellcheck, and what OPERATIONS.md names."""
import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import unittest

import daemon

ROOT = os.path.abspath(os.environ.get("REZEPT_SOURCE_ROOT", f"{daemon.HERE}/../.."))
DEPLOY = f"{ROOT}/deploy"
UNITS = ("rezeptd.service", "rezept-backup.service", "rezept-backup.timer")
IS_ROOT = os.geteuid() == 0
TOOLS = all(shutil.which(name) for name in ("systemctl", "systemd-sysusers", "systemd-tmpfiles"))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def tree(top):
    """{path: what is there} of all files and links below a folder."""
    found = {}
    for folder, folders, names in os.walk(top):
        for name in names + [f for f in folders if os.path.islink(f"{folder}/{f}")]:
            path = f"{folder}/{name}"
            if os.path.islink(path):
                found[path[len(top):]] = os.readlink(path)
            else:
                with open(path, "rb") as file:
                    found[path[len(top):]] = (stat.S_IMODE(os.stat(path).st_mode),
                                              hashlib.sha256(file.read()).hexdigest())
    return found


@unittest.skipUnless(TOOLS, "systemd is not installed")
class Install(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="rezept-root-")
        self.addCleanup(shutil.rmtree, self.root)

    def install(self, *arguments, code=0, **more):
        done = subprocess.run([f"{DEPLOY}/install", "--root", self.root, *arguments], capture_output=True,
                              text=True, timeout=120, **more)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def files(self):
        """Without what systemd's tools and the user database bring."""
        return {path: what for path, what in tree(self.root).items()
                if not re.match(r"/etc/(passwd|group|shadow|gshadow|\.pwd\.lock)", path)}

    def test_installs_twice_alike_and_goes_away(self):
        self.install("--build", daemon.BUILD)
        first = self.files()
        listed = set(read(f"{self.root}/usr/local/share/rezept/installed").split())
        own = {path for path in first if not path.startswith("/etc/")} - {"/usr/local/share/rezept/installed"}
        self.assertEqual(listed, own)
        for name in ("rezeptd", "rezept", "rezept-train"):
            done = subprocess.run([f"{self.root}/usr/local/bin/{name}", "--version"], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout.split()[0]), (0, name), done.stderr)
        for name in ("rezept-backup", "rezept-restore"):  # the module is found through the link
            done = subprocess.run([f"{self.root}/usr/local/sbin/{name}", "--help"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("exit status", done.stdout)
        wants = {path for path in first if ".wants/" in path}
        self.assertEqual(wants, {"/etc/systemd/system/multi-user.target.wants/rezeptd.service",
                                 "/etc/systemd/system/timers.target.wants/rezept-backup.timer"})
        ini = f"{self.root}/etc/rezept/rezeptd.ini"
        with open(ini, "a", encoding="utf-8") as file:
            file.write("port = 9999\n")
        self.install("--build", daemon.BUILD)  # an upgrade
        self.assertTrue(read(ini).endswith("port = 9999\n"))
        self.assertEqual({k: v for k, v in self.files().items() if not k.endswith(".ini")},
                         {k: v for k, v in first.items() if not k.endswith(".ini")})
        said = self.install("--remove")
        self.assertEqual(set(self.files()), {"/etc/rezept/rezeptd.ini"})
        self.assertIn("kept: ", said)
        self.assertIn("/etc/rezept", said)
        self.install("--remove", code=4)

    @unittest.skipUnless(IS_ROOT, "only root makes users")
    def test_user_folders_and_what_stays(self):
        self.install("--build", daemon.BUILD)
        self.install("--build", daemon.BUILD)
        row = [line for line in read(f"{self.root}/etc/passwd").splitlines() if line.startswith("rezept:")]
        self.assertEqual(len(row), 1)
        _, _, uid, gid, _, home, shell = row[0].split(":")
        self.assertEqual((home, shell), ("/var/lib/rezept", "/usr/sbin/nologin"))
        self.assertNotEqual(uid, "0")
        for path, mode, owner in (("/var/lib/rezept", 0o750, int(uid)), ("/var/lib/rezept/models", 0o750, int(uid)),
                                  ("/var/lib/rezept-backup", 0o755, int(uid)),
                                  ("/var/backups/rezept", 0o700, int(uid)), ("/etc/rezept", 0o755, 0)):
            info = os.stat(self.root + path)
            self.assertEqual((stat.S_IMODE(info.st_mode), info.st_uid), (mode, owner), path)
        with open(f"{self.root}/var/lib/rezept/rezept.db", "w", encoding="utf-8") as file:
            file.write("claims")
        self.assertIn("/var/lib/rezept", self.install("--remove"))
        self.assertEqual(read(f"{self.root}/var/lib/rezept/rezept.db"), "claims")
        self.assertIn("rezept:", read(f"{self.root}/etc/passwd"))  # its number must not become another's
        # Where nothing is left that the user owns, the user goes as well.
        self.install("--build", daemon.BUILD)
        for path in ("/var/lib/rezept/rezept.db", "/etc/rezept/rezeptd.ini"):
            os.unlink(self.root + path)
        self.assertNotIn("kept", self.install("--remove"))
        self.assertEqual(self.files(), {})
        self.assertNotIn("rezept:", read(f"{self.root}/etc/passwd"))

    def test_wrong_usage(self):
        self.install("--sideways", code=2)
        self.install("--build", f"{self.root}/none", code=1)
        os.mkdir(f"{self.root}/empty")
        self.assertIn("has no server/rezeptd", self.install("--build", f"{self.root}/empty", code=4))
        self.install("--remove", code=4)
        self.assertIn("--remove", self.install("--help"))

    @unittest.skipUnless(IS_ROOT, "root can become somebody else")
    def test_a_plain_user_installs_nothing_on_this_machine(self):
        copy = f"{self.root}/install"
        shutil.copy(f"{DEPLOY}/install", copy)
        os.chmod(self.root, 0o755)
        done = subprocess.run(["bash", copy], capture_output=True, text=True, user=65534, group=65534,
                              extra_groups=[], cwd="/")
        self.assertEqual(done.returncode, 1)
        self.assertIn("only root can install", done.stderr)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
class Units(unittest.TestCase):
    # Exposure as `systemd-analyze security` counts it, 0 (none) to 10; a unit without any sandbox has 9.6.
    EXPOSURE_MAX = {"rezeptd.service": 1.2, "rezept-backup.service": 0.7}

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rezept-units-")
        self.addCleanup(shutil.rmtree, self.folder)
        for name in UNITS:  # systemd asks whether the programs are there
            text = read(f"{DEPLOY}/systemd/{name}").replace("/usr/local/bin/rezeptd", daemon.REZEPTD)
            text = text.replace("/usr/local/sbin/rezept-backup", f"{DEPLOY}/backup")
            with open(f"{self.folder}/{name}", "w", encoding="utf-8") as file:
                file.write(text)

    def verify(self, *names):
        return subprocess.run(["systemd-analyze", "verify", "--man=no", *(f"{self.folder}/{n}" for n in names)],
                              capture_output=True, text=True, timeout=60)

    def test_verify(self):
        done = self.verify(*UNITS)
        own = [line for line in done.stderr.splitlines() if "rezept" in line]
        self.assertEqual((done.returncode, own), (0, []), done.stderr)
        with open(f"{self.folder}/rezeptd.service", "a", encoding="utf-8") as file:
            file.write("\n[Service]\nProtectEverything=yes\n")
        self.assertIn("ProtectEverything", self.verify("rezeptd.service").stderr)

    def test_exposure(self):
        for name, most in self.EXPOSURE_MAX.items():
            done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                                   f"--threshold={int(most * 10)}", f"{self.folder}/{name}"],
                                  capture_output=True, text=True, timeout=60)
            found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
            self.assertIsNotNone(found, done.stdout + done.stderr)
            self.assertLessEqual(float(found[1]), most, done.stdout)
            self.assertEqual(done.returncode, 0)

    def test_limits_agree_with_the_daemon(self):
        text = read(f"{DEPLOY}/systemd/rezeptd.service")
        settings = dict(re.findall(r"(?m)^([a-z-]+) += (\S+)", subprocess.run(
            [daemon.REZEPTD, "--check-config"], capture_output=True, text=True, check=True,
            env={"PATH": "/usr/bin"}).stdout))
        given = dict(re.findall(r"(?m)^(\w+)=(\S+)$", text))
        self.assertGreater(int(given["TimeoutStopSec"]), int(settings["drain-seconds"]))
        self.assertGreater(int(given["LimitNOFILE"]),
                           int(settings["connections-max"]) + 4 * int(settings["readers-max"]) + 64)
        for proxy, pattern in (("nginx.conf", r"proxy_read_timeout\s+(\d+)s"), ("haproxy.cfg", r"timeout server\s+(\d+)s")):
            self.assertGreater(int(re.search(pattern, read(f"{DEPLOY}/proxy/{proxy}"))[1]),
                               int(settings["load-timeout-s"]))
        body = int(re.search(r"client_max_body_size\s+(\d+)m", read(f"{DEPLOY}/proxy/nginx.conf"))[1]) << 20
        self.assertGreater(body, int(settings["batch-bytes-max"]))

    def test_settings_file(self):
        done = subprocess.run([daemon.REZEPTD, "--check-config", "--config", f"{DEPLOY}/rezeptd.ini"],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^db += /var/lib/rezept/rezept.db +\(file\)")


class Container(unittest.TestCase):
    """It cannot be built where no registry is reached; each of its parts can be looked at."""

    def setUp(self):
        text = re.sub(r"(?m)^#.*\n", "", read(f"{DEPLOY}/Containerfile")).replace("\\\n", " ")
        self.lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
        self.stages, self.copies, self.runs = [], [], []
        for word, rest in self.lines:
            if word == "FROM":
                self.stages.append(rest.split()[2] if " AS " in rest else "")
            elif word == "COPY":
                words = rest.split()
                source = words.pop(0)[len("--from="):] if words[0].startswith("--from=") else None
                self.copies.append((len(self.stages) - 1, source, words[:-1], words[-1]))
            elif word == "RUN":
                self.runs += [(len(self.stages) - 1, shlex.split(c)) for c in rest.split("&&")]

    def given(self, name):
        return [rest for word, rest in self.lines if word == name]

    def test_known_words(self):
        known = "FROM COPY RUN USER WORKDIR VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD".split()
        self.assertEqual({word for word, _ in self.lines} - set(known), set())
        self.assertEqual(self.stages, ["build", ""])
        for base in self.given("FROM"):
            self.assertTrue(base.startswith("debian:12-slim"))

    def test_what_is_copied_is_there(self):
        tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
        names = tracked.stdout.splitlines() if tracked.returncode == 0 else []
        ignored = [line for line in read(f"{ROOT}/.dockerignore").split("\n") if line and not line.startswith("#")]
        for stage, source, paths, _ in self.copies:
            for path in paths:
                if source is None and path != ".":
                    self.assertTrue(os.path.exists(f"{ROOT}/{path}"), path)
                    self.assertFalse(any(path == i or path.startswith(f"{i}/") for i in ignored), path)
                elif source is not None:
                    self.assertIn(source, self.stages[:stage])
                    self.assertTrue(path.startswith("/build/"))
                    self.assertTrue(os.path.exists(daemon.BUILD + path[len("/build"):]), path)
        for name in names:  # what the build reads is not left out
            if name.split("/")[0] in ("core", "server", "client", "models", "schema") or name.startswith("meson"):
                self.assertFalse(any(name == i or name.startswith(f"{i.rstrip('*')}") and i.endswith("*")
                                     or name.startswith(f"{i}/") for i in ignored), name)

    def test_commands(self):
        """Each is of a known kind, and is tried where that needs no image."""
        kinds = set()
        for stage, words in self.runs:
            name = os.path.basename(words[0])
            kinds.add(name)
            if name == "install-packages":
                copied = {os.path.join(to, os.path.basename(p)) for s, source, paths, to in self.copies
                          if s == stage and source is None for p in paths}
                self.assertIn(words[0], copied)
                self.assertIn(os.path.join(os.path.dirname(words[0]), "packages.txt"), copied)
                listed = {line.split()[0] for line in read(f"{DEPLOY}/packages.txt").splitlines() if line[:1].isalpha()}
                self.assertLessEqual(set(words[1:]), listed)
        self.assertEqual(kinds, {"install-packages", "meson", "ninja", "rm", "groupadd", "useradd", "install"})
        setup, = [words for _, words in self.runs if words[0] == "meson"]
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(setup[2:4], ["/build", "/src"])
            done = subprocess.run(["meson", "setup", f"{folder}/build", ROOT, *setup[4:]], capture_output=True, text=True,
                                  timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout[-3000:])
            built = subprocess.run(["ninja", "-C", f"{folder}/build", "-t", "targets", "all"], capture_output=True,
                                   text=True).stdout
        for _, source, paths, _ in self.copies:
            for path in paths if source else []:
                self.assertRegex(built, rf"(?m)^{path[len('/build/'):]}:")

    @unittest.skipUnless(IS_ROOT and shutil.which("chroot"), "only root can")
    def test_user_commands(self):
        """Options of groupadd and useradd, on a user database of their own."""
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(f"{root}/etc")
            for name in ("passwd", "group", "shadow", "gshadow"):
                open(f"{root}/etc/{name}", "w", encoding="utf-8").close()
            for _, words in self.runs:
                if words[0] in ("groupadd", "useradd"):
                    done = subprocess.run([words[0], "--prefix", root, *words[1:]], capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("rezept:x:10001:10001:", read(f"{root}/etc/passwd"))

    def test_packages_exist(self):
        """Every name of packages.txt is a package of this Debian, as far as its lists are here."""
        names = {line.split()[1] for line in read(f"{DEPLOY}/packages.txt").splitlines() if line[:1].isalpha()}
        shown = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True).stdout.split()
        if len(shown) < 10000:
            self.skipTest("the lists of packages are not here (apt-get update)")
        self.assertEqual(names - set(shown), set())

    def test_it_runs_as_nobody_special_and_stops_gracefully(self):
        self.assertEqual(self.given("USER"), ["10001:10001"])
        self.assertEqual(self.given("ENTRYPOINT"), ['["rezeptd"]'])
        self.assertEqual(self.given("CMD"), ['["serve"]'])
        self.assertEqual(self.given("STOPSIGNAL"), ["SIGTERM"])
        check = re.search(r"CMD \[(.*)\]", self.given("HEALTHCHECK")[0])[1]
        words = [word.strip(' "') for word in check.split(",")]
        done = subprocess.run([f"{daemon.BUILD}/client/{words[0]}", *words[1:], "--url", "http://127.0.0.1:9"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 7, done.stderr)


class Texts(unittest.TestCase):
    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not installed")
    def test_shellcheck(self):
        scripts = [f"{DEPLOY}/{name}" for name in os.listdir(DEPLOY) if os.path.isfile(f"{DEPLOY}/{name}")
                   and re.match(r"#!/bin/(ba)?sh", read(f"{DEPLOY}/{name}"))]
        self.assertGreaterEqual(len(scripts), 3)
        done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_manual_names_what_is_there(self):
        manual = read(f"{DEPLOY}/OPERATIONS.md")
        for path in re.findall(r"`(deploy/[\w./-]+)`", manual):
            self.assertTrue(os.path.exists(f"{ROOT}/{path}"), path)
        for name in re.findall(r"`(rezept(?:d|-backup)\.(?:service|timer))`", manual):
            self.assertIn(name, UNITS)
        for program, path in (("rezept-backup", "backup"), ("rezept-restore", "restore")):
            helped = subprocess.run([f"{DEPLOY}/{path}", "--help"], capture_output=True, text=True, check=True).stdout
            used = re.findall(rf"{program} ([^`\n#]*)", manual + read(f"{DEPLOY}/systemd/rezept-backup.service"))
            self.assertTrue(used)
            for flag in re.findall(r"--[a-z]+", " ".join(used)):
                self.assertIn(flag, helped, f"{program} {flag}")
        for flag in re.findall(r"deploy/install ([^`\n#]*)", manual):
            for word in re.findall(r"--[a-z]+", flag):
                self.assertIn(word, read(f"{DEPLOY}/install"))


if __name__ == "__main__":
    daemon.main()
