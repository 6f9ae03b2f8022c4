"""nginx and HAProxy as deploy/proxy configures them, with TLS on loopback and a certificate of their own."""
import http.client
import os
import shutil
import signal
import ssl
import subprocess
import time

from daemon import HERE, Answer, free_port

CONFIGS = os.path.join(os.path.abspath(os.environ.get("REZEPT_SOURCE_ROOT", f"{HERE}/../..")), "deploy/proxy")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def program(name):
    return shutil.which(name, path=PATH)


def change(text, changes):
    """Every text to change must be there: else the configuration would be tried without the change."""
    for old, new in changes.items():
        if old not in text:
            raise AssertionError(f"\"{old}\" is not in the configuration")
        text = text.replace(old, new)
    return text


class Proxy:
    """A proxy on a free port before the daemon on `upstream`; its files lie in `folder`."""

    def __init__(self, folder, upstream):
        self.folder, self.upstream, self.port = folder, upstream, free_port()
        self.certificate()
        self.context = ssl.create_default_context(cafile=f"{folder}/cert.pem")
        with open(f"{CONFIGS}/{self.file}", encoding="utf-8") as file:
            text = file.read()
        with open(f"{folder}/{self.file}", "w", encoding="utf-8") as file:
            file.write(change(text, self.changes()))
        self.prepare()
        checked = subprocess.run(self.check_command(), capture_output=True, text=True, check=False)
        if checked.returncode != 0:
            raise AssertionError(checked.stdout + checked.stderr)
        self.output = open(f"{folder}/output", "ab")
        self.process = subprocess.Popen(self.command(), stdout=self.output, stderr=self.output)
        self.wait()

    def certificate(self):
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                               "-nodes", "-keyout", f"{self.folder}/key.pem", "-out", f"{self.folder}/cert.pem",
                               "-days", "1", "-subj", "/CN=localhost", "-addext",
                               "subjectAltName=DNS:localhost,IP:127.0.0.1"], capture_output=True, text=True,
                              check=False)
        if made.returncode != 0:
            raise AssertionError(made.stderr)
        with open(f"{self.folder}/both.pem", "w", encoding="utf-8") as out:
            for name in ("cert.pem", "key.pem"):
                with open(f"{self.folder}/{name}", encoding="utf-8") as file:
                    out.write(file.read())

    def prepare(self):
        pass

    def connection(self, timeout=60, context=None):
        return http.client.HTTPSConnection("localhost", self.port, timeout=timeout,
                                           context=context or self.context)

    def call(self, method, path, body=None, headers=None):
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()

    def wait(self, wanted=200, seconds=20):
        end = time.time() + seconds
        while time.time() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.file}: it ended: {self.written()}")
            try:
                if self.call("GET", "/livez").status == wanted:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.file}: /livez is not {wanted}: {self.written()}")

    def written(self):
        """All that it wrote anywhere in its folder."""
        text = ""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                if not name.endswith((".pem", ".cfg", ".conf")):
                    with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:
                        text += file.read()
        return text

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.output.close()


class Nginx(Proxy):
    name, file = "nginx", "nginx.conf"

    def changes(self):
        return {"127.0.0.1:8480": f"127.0.0.1:{self.upstream}", "listen 443": f"listen 127.0.0.1:{self.port}",
                "/etc/rezept/tls": self.folder, "/var/log/nginx": self.folder,
                "rezept.example.org": "localhost"}

    def prepare(self):
        """What Debian's /etc/nginx/nginx.conf is around it."""
        temp = "".join(f"    {kind}_temp_path {self.folder}/temp-{kind};\n"
                       for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        with open(f"{self.folder}/main.conf", "w", encoding="utf-8") as file:
            file.write(f"{user}daemon off;\nworker_processes 1;\npid {self.folder}/pid;\n"
                       f"error_log {self.folder}/main-error.log notice;\nevents {{ worker_connections 256; }}\n"
                       f"http {{\n{temp}    include {self.folder}/nginx.conf;\n}}\n")

    def command(self):
        return [program("nginx"), "-p", self.folder, "-c", f"{self.folder}/main.conf"]

    def check_command(self):
        return [*self.command(), "-t"]


class HAProxy(Proxy):
    name, file = "haproxy", "haproxy.cfg"

    def changes(self):
        return {"127.0.0.1:8480": f"127.0.0.1:{self.upstream}", "bind :443": f"bind 127.0.0.1:{self.port}",
                "/etc/rezept/tls/rezept.pem": f"{self.folder}/both.pem",
                **({} if os.geteuid() == 0 else {"    user haproxy\n": "", "    group haproxy\n": "",
                                                 "    chroot /var/lib/haproxy\n": ""})}

    def command(self):
        return [program("haproxy"), "-db", "-f", f"{self.folder}/haproxy.cfg"]

    def check_command(self):
        return [*self.command(), "-c"]
