"""Debian's Chromium without a window, driven over a pipe by its own protocol (no driver, no sockets)."""
import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PROGRAM = shutil.which("chromium")
# What a page may not do unnoticed: break its own policy.
WATCH = """window.violations = [];
addEventListener("securitypolicyviolation", e => violations.push(`${e.violatedDirective} ${e.blockedURI}`));"""
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40}


def apart(fd):
    """The descriptor again with a number that 3 and 4 do not meet."""
    high = fcntl.fcntl(fd, fcntl.F_DUPFD, 10)
    os.close(fd)
    return high


class Browser:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="chromium-")
        to_it, self.write = (apart(fd) for fd in os.pipe())
        self.read, from_it = (apart(fd) for fd in os.pipe())

        def ends():
            os.dup2(to_it, 3)
            os.dup2(from_it, 4)

        command = [PROGRAM, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self.folder}", "--disable-gpu",
                   "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
                   "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-US", "about:blank"]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        self.process = subprocess.Popen(command, preexec_fn=ends, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_it)
        os.close(from_it)
        self.last, self.buffer, self.events = 0, b"", []

    def receive(self, seconds):
        """The next message, or None after so long."""
        end = time.time() + seconds
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(0.0, end - time.time()))[0]:
                return None
            chunk = os.read(self.read, 1 << 20)
            if not chunk:
                raise AssertionError("chromium ended")
            self.buffer += chunk
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, session=None, seconds=60, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write, data):]
        end = time.time() + seconds
        while time.time() < end:
            got = self.receive(end - time.time())
            if got is None:
                break
            if got.get("id") == self.last:
                if "error" in got:
                    raise AssertionError(f"{method}: {got['error']}")
                return got["result"]
            if "method" in got:
                self.events.append(got)
        raise AssertionError(f"{method}: no answer in {seconds} s")

    def close(self):
        with contextlib.suppress(AssertionError, OSError):
            self.call("Browser.close", seconds=10)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read)
        os.close(self.write)
        shutil.rmtree(self.folder, ignore_errors=True)


class Page:
    """A tab with a profile of its own: no token, no language of another."""

    def __init__(self, browser, width=1280, height=900, language="en"):
        self.browser = browser
        self.context = browser.call("Target.createBrowserContext")["browserContextId"]
        self.target = browser.call("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        agent = self.run("navigator.userAgent")
        self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        self.size(width, height)

    def call(self, method, **more):
        return self.browser.call(method, self.session, **more)

    def size(self, width, height, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)

    def open(self, url):
        self.call("Page.navigate", url="about:blank")  # else another part of the same page only changes the address
        self.call("Page.navigate", url=url)

    def run(self, script):
        got = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in got:
            raise AssertionError(f"{script[:200]}: {got['exceptionDetails'].get('exception', {}).get('description')}")
        return got["result"].get("value")

    def wait(self, condition, seconds=60):
        """Until the expression is true in the page."""
        end = time.time() + seconds
        while time.time() < end:
            with contextlib.suppress(AssertionError):
                if self.run(f"Boolean({condition})"):
                    return
            time.sleep(0.05)
        raise AssertionError(f"never true: {condition}\n{self.run('document.body.innerText')[:3000]}")

    def settled(self):
        """Until no part of the page is loading any more."""
        self.wait("document.readyState === 'complete' && document.querySelector('main')?.childElementCount > 0"
                  " && !document.querySelector('[aria-busy]')")

    def text(self, selector="body"):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText).join('\\n')")

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def choose(self, selector, value):
        self.run(f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
                 f"(document.querySelector({json.dumps(selector)}))")

    def key(self, name):
        more = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=KEYS[name],
                      **(more if kind == "keyDown" else {}))

    def type(self, text):
        self.call("Input.insertText", text=text)

    def _mine(self, method):
        return [e["params"] for e in self.browser.events if e.get("sessionId") == self.session and e["method"] == method]

    def mistakes(self):
        """Script errors, messages on the console and breaches of the policy; answers of the daemon that are
        errors are the browser's to note and the page's to show."""
        self.run("1")
        thrown = [e["exceptionDetails"].get("exception", {}).get("description", e["exceptionDetails"]["text"])
                  for e in self._mine("Runtime.exceptionThrown")]
        said = [str(e["args"]) for e in self._mine("Runtime.consoleAPICalled") if e["type"] in ("error", "warning", "assert")]
        logged = [e["entry"]["text"] for e in self._mine("Log.entryAdded")
                  if e["entry"]["level"] in ("error", "warning") and e["entry"]["source"] != "network"]
        return thrown + said + logged + (self.run("window.violations") or [])

    def asked(self):
        """Every URL that was asked for."""
        return [e["request"]["url"] for e in self._mine("Network.requestWillBeSent")]

    def screenshot(self, path, whole=True):
        clip = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
        got = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **clip)
        with open(path, "wb") as file:
            file.write(base64.b64decode(got["data"]))

    def pdf(self):
        got = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        return base64.b64decode(got["data"])

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)
