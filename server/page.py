#!/usr/bin/python3
"""Turns the files of the clinicians' page into a C table, as they are and gzipped: page.py OUT FILE…"""
import gzip
import hashlib
import os
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".LICENSE": "text/plain; charset=utf-8"}


def array(name, content):
    rows = [", ".join(f"{byte if byte < 128 else byte - 256}" for byte in content[i:i + 24])
            for i in range(0, len(content), 24)]
    return f"static const char {name}[] = {{\n    " + ",\n    ".join(rows) + "};\n"


def main():
    target, *sources = sys.argv[1:]
    arrays, table = [], []
    for i, path in enumerate(sorted(sources, key=os.path.basename)):
        with open(path, "rb") as file:
            content = file.read()
        packed = gzip.compress(content, 9, mtime=0)
        name, kind = os.path.basename(path), TYPES[os.path.splitext(path)[1]]
        etag = hashlib.sha256(content).hexdigest()[:32]
        arrays += [array(f"raw_{i}", content), array(f"gzip_{i}", packed)]
        table.append(f'    {{"{name}", "{kind}", "W/\\"{etag}\\"", raw_{i}, gzip_{i}, {len(content)}, {len(packed)}}},\n')
    with open(target, "w", encoding="ascii") as file:
        file.write('#include "page.h"\n\n' + "".join(arrays) + "const page_file page_files[] = {\n" + "".join(table)
                   + f"}};\nconst size_t page_files_count = {len(table)};\n")


if __name__ == "__main__":
    main()
