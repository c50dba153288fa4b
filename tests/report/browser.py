"""A page as a browser shows it: overflow, text too small or on top of other text, requests, messages, and pictures.

`python tests/report/browser.py page.html --out FOLDER` looks at a page at the width of a desk and of a phone, by light
and by dark, prints what is wrong and writes a picture of each. Chromium is driven by its DevTools protocol over a pair
of pipes, which needs nothing but Chromium itself.
"""

import argparse
import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WIDTHS = {"desk": 1280, "phone": 390}
SMALLEST = 9.0  # CSS pixels of text in a figure
TALLEST = 16_000  # pixels of a picture: above, it is cut
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-pipe",
)  # fmt: skip

LOOK = Path(__file__).with_name("look.js")


def chromium() -> str | None:
    """Return where Chromium is, or None."""
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What was found of a page at one width, by light or by dark."""

    name: str
    seen: dict[str, Any]
    requests: tuple[str, ...]
    messages: tuple[str, ...]

    def faults(self) -> list[str]:
        """Return what is wrong, a line each."""
        seen, found = self.seen, []
        if seen["scroll"] > seen["inner"]:
            found.append(f"the page is {seen['scroll']} px wide, the window {seen['inner']}")
        for key, what in (
            ("over", "sticks out"), ("small", "too small"), ("lost", "lies on other text"), ("cut", "cut off"),
            ("faint", "too faint"),
        ):  # fmt: skip
            found += [f"{what}: {one}" for one in seen[key]]
        found += [f"asked for {url}" for url in self.requests] + [f"console: {text}" for text in self.messages]
        return [f"{self.name}: {line}" for line in found]


@dataclass(slots=True)
class Browser:
    """A running Chromium: commands out by one pipe, answers and events in by another."""

    process: subprocess.Popen
    out: int
    into: int
    events: list[dict[str, Any]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    left: bytes = b""

    def call(self, method: str, *, session: str | None = None, wait: float = 60.0, **params: Any) -> dict[str, Any]:
        """Send a command and return its answer; what else comes in the meantime is kept in `events`."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self.out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + wait
        while time.monotonic() < end:
            for answer in self.read(end - time.monotonic()):
                if answer.get("id") == number:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']}")
                    return answer["result"]
                self.events.append(answer)
        raise TimeoutError(method)

    def read(self, wait: float) -> list[dict[str, Any]]:
        """Return the messages that have come, waiting for the first."""
        if b"\0" not in self.left:
            if not select.select([self.into], [], [], max(wait, 0))[0]:
                return []
            got = os.read(self.into, 1 << 20)
            if not got:
                raise RuntimeError("Chromium has gone")
            self.left += got
        *whole, self.left = self.left.split(b"\0")
        return [json.loads(one) for one in whole]

    def until(self, method: str, session: str, *, wait: float = 60.0) -> None:
        """Wait for an event."""
        end = time.monotonic() + wait
        while not any(e.get("method") == method and e.get("sessionId") == session for e in self.events):
            if time.monotonic() > end:
                raise TimeoutError(method)
            self.events += self.read(end - time.monotonic())


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run Chromium with a profile of its own and without a network."""
    program = chromium()
    if program is None:
        raise RuntimeError("there is no Chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        theirs_in, out = os.pipe()
        into, theirs_out = os.pipe()
        line = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'  # the protocol wants descriptors 3 and 4
        argv = ["bash", "-c", line, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(argv, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(process, out, into)
        finally:
            os.close(out)  # Chromium leaves when its pipe closes
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(into)


def look(chrome: Browser, page: Path, *, width: int, dark: bool, name: str = "", picture: Path | None = None) -> View:
    """Open a page at a width, by light or by dark, and return what is seen; write a picture of all of it."""
    target = chrome.call("Target.createTarget", url="about:blank")["targetId"]
    session = chrome.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    chrome.events.clear()
    for domain in ("Page", "Runtime", "Log", "Network"):
        chrome.call(f"{domain}.enable", session=session)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    chrome.call("Emulation.setEmulatedMedia", session=session, features=scheme)
    size = {"height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    chrome.call("Emulation.setDeviceMetricsOverride", session=session, width=width, **size)
    address = page.resolve().as_uri()
    answer = chrome.call("Page.navigate", session=session, url=address)
    if answer.get("errorText"):
        raise RuntimeError(f"{page}: {answer['errorText']}")
    chrome.until("Page.loadEventFired", session)
    script = LOOK.read_text().replace("SMALLEST", str(SMALLEST))
    answer = chrome.call("Runtime.evaluate", session=session, expression=script, returnByValue=True)
    if "exceptionDetails" in answer:
        raise RuntimeError(str(answer["exceptionDetails"]))
    seen = answer["result"]["value"]
    if picture is not None:
        clip = {"x": 0, "y": 0, "width": width, "height": min(seen["height"], TALLEST), "scale": 1}
        shot = chrome.call("Page.captureScreenshot", session=session, captureBeyondViewport=True, clip=clip)
        picture.write_bytes(base64.b64decode(shot["data"]))
    events = [e for e in chrome.events if e.get("sessionId") == session]
    chrome.call("Target.closeTarget", targetId=target)
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    said = [e["params"]["entry"]["text"] for e in events if e["method"] == "Log.entryAdded"]
    said += [str(e["params"]["args"]) for e in events if e["method"] == "Runtime.consoleAPICalled"]
    said += [str(e["params"]["exceptionDetails"]) for e in events if e["method"] == "Runtime.exceptionThrown"]
    requests = tuple(url for url in asked if url != address and not url.startswith("data:"))
    return View(name=name or f"{width}{'-dark' if dark else ''}", seen=seen, requests=requests, messages=tuple(said))


def look_everywhere(pages: list[Path], *, out: Path | None = None) -> list[View]:
    """Look at pages at every width, by light and by dark."""
    found = []
    with browser() as chrome:
        for page, (place, width), dark in itertools.product(pages, WIDTHS.items(), (False, True)):
            name = f"{page.stem}-{place}-{'dark' if dark else 'light'}"
            picture = None if out is None else out / f"{name}.png"
            found.append(look(chrome, page, width=width, dark=dark, name=name, picture=picture))
    return found


def print_pdf(page: Path, out: Path) -> None:
    """Print a page as PDF."""
    with browser() as chrome:
        target = chrome.call("Target.createTarget", url="about:blank")["targetId"]
        session = chrome.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        chrome.call("Page.enable", session=session)
        chrome.call("Page.navigate", session=session, url=page.resolve().as_uri())
        chrome.until("Page.loadEventFired", session)
        pdf = chrome.call("Page.printToPDF", session=session, printBackground=False, preferCSSPageSize=True)
        out.write_bytes(base64.b64decode(pdf["data"]))


def main() -> int:
    """Look at pages, say what is wrong, and write pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="folder for pictures")
    parser.add_argument("--pdf", action="store_true", help="print each page into that folder too")
    arguments = parser.parse_args()
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    views = look_everywhere(arguments.pages, out=arguments.out)
    for view in views:
        seen = view.seen
        least = "no figure" if seen["least"] is None else f"smallest text {seen['least']:.1f} px"
        sys.stdout.write(f"{view.name}: {seen['scroll']} of {seen['inner']} px, {seen['figures']} figures, {least}, "
                         f"{seen['height']} px high\n")  # fmt: skip
        for line in view.faults():
            sys.stdout.write(f"  {line}\n")
    if arguments.pdf and arguments.out is not None:
        for page in arguments.pages:
            print_pdf(page, arguments.out / f"{page.stem}.pdf")
    return int(any(view.faults() for view in views))


if __name__ == "__main__":
    sys.exit(main())
