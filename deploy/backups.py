"""A backup on disk, for deploy/backup and deploy/restore: the store and the models as one folder.

    rezept-20261126T013000Z/
        rezept.db        one moment of the store (VACUUM INTO), with nothing of erased patients in it
        tokens.json      names, scopes and digests of the tokens, where there are any
        models/ID/…      DONE and the files that it lists; models/routing.json
        MANIFEST.json    size and SHA-256 of every file, and what the store holds

The folder is made under another name, synced, checked and then renamed: one of this name is whole. The
pseudonym key is never part of it; ids in a stolen backup are then worth no more than in the store."""
import configparser
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import sqlite3
import stat
import sys
import urllib.parse

USAGE, FORMAT, MISSING, CONFLICT, BUSY, SPACE, IO, DAMAGED = 2, 3, 4, 5, 7, 8, 9, 10  # as rezeptd's
NAME = re.compile(r"rezept-\d{8}T\d{6}Z")
SETTINGS = "/etc/rezept/rezeptd.ini"
APPLICATION_ID = 0x525A5054
MANIFEST_VERSION = 1
MARGIN_BYTES = 16 << 20
PIECE = 1 << 20


class Failed(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def code_of(error):
    """The exit code of an error of the system or of SQLite."""
    if isinstance(error, sqlite3.Error):
        base = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return {sqlite3.SQLITE_FULL: SPACE, sqlite3.SQLITE_BUSY: BUSY, sqlite3.SQLITE_LOCKED: BUSY,
                sqlite3.SQLITE_CORRUPT: DAMAGED, sqlite3.SQLITE_NOTADB: DAMAGED}.get(base, IO)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return SPACE
    return MISSING if error.errno == errno.ENOENT else IO


def run(main):
    """Runs a program; whatever goes wrong is one line and an exit code."""
    name = os.path.basename(sys.argv[0])
    try:
        sys.exit(main())
    except Failed as failed:
        print(f"{name}: {failed}", file=sys.stderr)
        sys.exit(failed.code)
    except (OSError, sqlite3.Error) as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(code_of(error))
    except KeyboardInterrupt:
        sys.exit(130)


def settings_of(path):
    """db and models as the daemon's settings file names them, or the daemon's defaults."""
    found = {"db": "/var/lib/rezept/rezept.db", "models": "/var/lib/rezept/models"}
    if path is None and not os.path.exists(SETTINGS):
        return found
    ini = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",), strict=False)
    try:
        with open(path or SETTINGS, encoding="utf-8") as file:
            ini.read_file(file)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise Failed(FORMAT, f"{path or SETTINGS}: {error}") from error
    if ini.has_section("rezeptd"):
        found.update({key: ini.get("rezeptd", key) for key in found if ini.has_option("rezeptd", key)})
    return found


def add_paths(parser):
    parser.add_argument("--config", metavar="PATH", help=f"settings of the daemon [{SETTINGS}]")
    parser.add_argument("--db", metavar="PATH", help="the store [as the settings say]")
    parser.add_argument("--models", metavar="FOLDER", help="the models [as the settings say]")


def set_paths(options):
    known = settings_of(options.config)
    options.db = os.path.realpath(options.db or known["db"])
    options.models = os.path.realpath(options.models or known["models"])


# ---- files -----------------------------------------------------------------------------------------


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def digest(path, also=None):
    """{sha256, bytes} of a regular file, which is copied to the open file `also` on the way."""
    sha256, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Failed(DAMAGED, f"{path} is no regular file")
        while piece := file.read(PIECE):
            sha256.update(piece)
            size += len(piece)
            if also:
                also.write(piece)
    return {"sha256": sha256.hexdigest(), "bytes": size}


def copy(source, target, mode=0o640):
    """Copies to a new file, syncs it, and tells what was copied."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        copied = digest(source, file)
        file.flush()
        os.fsync(file.fileno())
    return copied


def sync_folders(top):
    for folder, _, _ in os.walk(top, topdown=False):
        sync(folder)


def check_space(folder, needed):
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < needed + MARGIN_BYTES:
        raise Failed(SPACE, f"{folder} has {free >> 20} MB free and {(needed + MARGIN_BYTES) >> 20} MB are "
                            "needed; nothing was changed")


@contextlib.contextmanager
def locked(path, holder):
    """Holds an flock with our process id in it, as the daemon holds the one beside its store."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.pread(fd, 20, 0).decode(errors="replace").strip()
            raise Failed(BUSY, f"{holder} (process {who or 'unknown'}, lock file {path})") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


# ---- what a backup consists of ---------------------------------------------------------------------


def uri(path, how):
    return f"file:{urllib.parse.quote(path)}?{how}"


def check_store(path):
    """{schema, patients, claims} of a store that nobody writes to, after a look at every page."""
    with contextlib.closing(sqlite3.connect(uri(path, "mode=ro&immutable=1"), uri=True)) as db:
        def one(sql):
            return db.execute(sql).fetchone()[0]
        found = one("PRAGMA integrity_check")
        if found != "ok":
            raise Failed(DAMAGED, f"{path} is damaged: {found}")
        if one("PRAGMA application_id") != APPLICATION_ID:
            raise Failed(DAMAGED, f"{path} is not a Rezept database")
        return {"schema": one("PRAGMA user_version"), "patients": one("SELECT count(*) FROM patients"),
                "claims": one("SELECT count(*) FROM claims WHERE superseded = 0 AND voided = 0")}


def model_files(folder):
    """{name: {sha256, bytes}} of what a model's DONE lists."""
    files = {}
    with open(f"{folder}/DONE", encoding="utf-8") as file:
        for line in file:
            found = re.fullmatch(r"([0-9a-f]{64})  (\d+)  ([A-Za-z0-9][A-Za-z0-9._-]*)\n?", line)
            if not found:
                raise Failed(DAMAGED, f"{folder}/DONE: \"{line.rstrip()[:60]}\" is no digest, size and name")
            files[found[3]] = {"sha256": found[1], "bytes": int(found[2])}
    return files


def check_file(path, wanted):
    found = digest(path)
    if found != wanted:
        raise Failed(DAMAGED, f"{path} has {found['bytes']} bytes and SHA-256 {found['sha256'][:12]}…, "
                              f"{wanted['bytes']} bytes and {wanted['sha256'][:12]}… are recorded")


def backups_of(folder):
    """Names of the backups in a folder, the oldest first."""
    return sorted(name for name in os.listdir(folder) if NAME.fullmatch(name))


def read_manifest(backup):
    path = f"{backup}/MANIFEST.json"
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        version, files = manifest["format_version"], manifest["files"]
        good = "rezept.db" in files and not any(
            os.path.isabs(name) or ".." in name.split("/") for name in files)
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(DAMAGED, f"{path} is no manifest of a backup: {error}") from error
    if version != MANIFEST_VERSION:
        raise Failed(FORMAT, f"{path} has format version {version}, this program knows {MANIFEST_VERSION}")
    if not good:
        raise Failed(DAMAGED, f"{path} lists no rezept.db, or a file outside the backup")
    return manifest


def verify(backup):
    """The manifest of a backup all of whose files, models and pages are as they were made."""
    manifest = read_manifest(backup)
    files = manifest["files"]
    for name, wanted in files.items():
        check_file(f"{backup}/{name}", wanted)
    for name in files:
        if name.endswith("/DONE"):
            folder = os.path.dirname(name)
            for part, wanted in model_files(f"{backup}/{folder}").items():
                if files.get(f"{folder}/{part}") != wanted:
                    raise Failed(DAMAGED, f"{backup}/{folder}: {part} is not what DONE lists")
    found = check_store(f"{backup}/rezept.db")
    if found != manifest["store"]:
        raise Failed(DAMAGED, f"{backup}/rezept.db holds {found}, the manifest says {manifest['store']}")
    return manifest
