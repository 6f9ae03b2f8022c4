#!/usr/bin/python3
"""The rules of the house that includes can break: a folder of core includes only folders above it
in core/meson.build, the client only core/base, a library of others is met in one file; rezept.h says
how each call fails; no file has more than 800 lines. Each rule is also shown a tree that breaks it."""

import os
import pathlib
import re
import tempfile
import unittest

ROOMS = ("core", "server", "client", "models")
LINES_MAX = 800
# C11, POSIX and the few of Linux; every other <header> belongs to a library and to one file.
SYSTEM = set("""
assert ctype dirent errno fcntl inttypes limits locale math netdb poll pthread sched setjmp signal
stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib string strings time unistd
arpa/inet netinet/in netinet/tcp sys/file sys/mman sys/random sys/resource sys/socket sys/stat
sys/statvfs sys/syscall sys/time sys/types sys/un sys/wait
""".split())
EVERYWHERE = {"jansson"}  # the one library that is spoken in every room
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.M)


def sources(root, *folders, suffixes=(".c", ".h")):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path


def includes(path):
    """The quoted and the angled names of one file."""
    found = INCLUDE.findall(path.read_text(encoding="utf-8"))
    return [quoted for quoted, _ in found if quoted], [angled for _, angled in found if angled]


def core_folders(root):
    text = (root / "core" / "meson.build").read_text(encoding="utf-8")
    return re.findall(r"'(\w+)'", re.search(r"foreach folder : \[(.*?)\]", text, re.S).group(1))


def misplaced_includes(root):
    folders, wrong = core_folders(root), []
    for path in sources(root, *ROOMS):
        room, *inner = path.relative_to(root).parts
        for name in includes(path)[0]:
            target = pathlib.PurePosixPath(name)
            if ".." in target.parts:
                wrong.append(f"{path}: \"{name}\" leaves its folder")
            elif (path.parent / name).is_file() or name == "rezept.h":
                continue
            elif room != "core" and (root / room / name).is_file():
                continue
            elif not (root / "core" / name).is_file():
                wrong.append(f"{path}: \"{name}\" is neither here nor in core")
            elif room == "client" and target.parts[0] != "base":
                wrong.append(f"{path}: the client may use core/base only, not \"{name}\"")
            elif room == "core" and len(inner) > 1:
                if folders.index(target.parts[0]) > folders.index(inner[0]):
                    wrong.append(f"{path}: {inner[0]} stands above {target.parts[0]} and may not "
                                 f"include \"{name}\"")
    return wrong


def libraries(root):
    """Each library header with the files that include it."""
    met = {}
    for path in sources(root, *ROOMS):
        for name in includes(path)[1]:
            if name.removesuffix(".h") not in SYSTEM | EVERYWHERE:
                met.setdefault(name, []).append(str(path.relative_to(root)))
    return met


def silent_prototypes(header):
    """Calls of rezept.h that return a status and whose comment does not say Errors."""
    wrong, comment = [], ""
    for match in re.finditer(r"/\*.*?\*/|^[\w ]+[ *](\w+)\(.*?\);", header, re.S | re.M):
        if match.group(1) is None:
            comment = match.group(0)
            continue
        if re.search(r"\brz_status \w+\($", match.group(0).split("(")[0] + "("):
            if "Errors" not in comment:
                wrong.append(match.group(1))
        comment = ""
    return wrong


def long_files(root):
    wrong = []
    suffixes = (".c", ".h", ".py", ".sql", ".build", ".js", ".css", ".html")
    for path in sources(root, *ROOMS, "schema", "tests", "deploy", suffixes=suffixes):
        parts = path.relative_to(root).parts
        if "data" in parts or (path.suffix == ".html" and parts[:2] == ("models", "studies")):
            continue  # made by programs: recorded data, and the reports of studies
        n = len(path.read_text(encoding="utf-8").splitlines())
        if n > LINES_MAX:
            wrong.append(f"{path}: {n} lines, {LINES_MAX} are the limit")
    return wrong


class House(unittest.TestCase):
    root = pathlib.Path(os.environ["REZEPT_SOURCE_ROOT"])

    def test_includes_go_upward(self):
        self.assertGreater(len(list(sources(self.root, *ROOMS))), 200)
        self.assertEqual(misplaced_includes(self.root), [])

    def test_a_library_is_met_in_one_file(self):
        met = libraries(self.root)
        for name in ("microhttpd.h", "sqlite3.h", "curl/curl.h", "zlib.h", "zstd.h", "sodium.h",
                     "nettle/sha2.h",
                     "ini.h", "cblas.h"):
            self.assertIn(name, met)
        self.assertEqual({name: files for name, files in met.items() if len(files) != 1}, {})

    def test_the_installed_header_says_how_calls_fail(self):
        header = (self.root / "core" / "rezept.h").read_text(encoding="utf-8")
        self.assertIn("rezept_open(", header)
        self.assertEqual(silent_prototypes(header), [])

    def test_no_file_is_too_long(self):
        self.assertEqual(long_files(self.root), [])


class Rules(unittest.TestCase):
    """The rules find what they are for."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("core/meson.build", "foreach folder : ['base', 'store']\n")
        self.write("core/base/status.h", "")
        self.write("core/store/store.h", '#include "base/status.h"\n')
        self.write("server/main.h", "")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def test_includes(self):
        self.write("server/main.c", '#include "main.h"\n#include "store/store.h"\n')
        self.write("client/main.c", '#include "base/status.h"\n')
        self.assertEqual(misplaced_includes(self.root), [])
        for name, text, words in (
                ("core/base/a.c", '#include "store/store.h"', "base stands above store"),
                ("core/store/a.c", '#include "main.h"', "neither here nor in core"),
                ("core/store/a.c", '#  include "../../server/main.h"', "leaves its folder"),
                ("client/a.c", '#include "store/store.h"', "core/base only"),
                ("models/a.c", '#include "main.h"', "neither here nor in core")):
            with self.subTest(name=name, text=text):
                self.write(name, text + "\n")
                found = misplaced_includes(self.root)
                self.assertEqual(len(found), 1)
                self.assertIn(words, found[0])
                (self.root / name).unlink()

    def test_libraries(self):
        self.write("core/base/a.c", "#include <zlib.h>\n#include <jansson.h>\n#include <stdio.h>\n")
        self.write("server/a.c", "#include <zlib.h>\n#include <jansson.h>\n#include <new/lib.h>\n")
        self.assertEqual(libraries(self.root), {"zlib.h": ["core/base/a.c", "server/a.c"],
                                                "new/lib.h": ["server/a.c"]})

    def test_prototypes(self):
        told = "/* Opens.\n * Errors   RZ_E_IO. */\nRZ_MUST_CHECK rz_status f(int a,\n  int b);\n"
        bare = "void g(void); /* accepts NULL */\nrz_status h(int a);\nconst char *text(int a);\n"
        self.assertEqual(silent_prototypes(told + bare), ["h"])

    def test_lengths(self):
        self.write("core/base/long.c", "\n" * LINES_MAX)
        self.assertEqual(long_files(self.root), [])
        self.write("core/base/long.c", "\n" * (LINES_MAX + 1))
        self.assertEqual(len(long_files(self.root)), 1)


if __name__ == "__main__":
    unittest.main()
