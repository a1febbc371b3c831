#!/usr/bin/env python3
"""Looks at pages in Chromium, and prints what is wrong with each as JSON: {page: ["kind: what", ...]}.

look.py PAGES HOME PLAN: the folder of the pages, where the pictures go too; a folder for the profile; a JSON file with, for each page, where
its bars belong, in percent, and whether pictures of it are wanted: {page: {"bars": [{"track", "left", "right"}], "pictures": true}}.
"""
import base64
import json
import os
import pathlib
import re
import shutil
import sys

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

SIZES = {"phone": (360, 800, True), "desktop": (1280, 900, False)}
SCHEMES = ("light", "dark")
LOUD = ("WARNING", "SEVERE")
LANDMARKS = {"banner", "main", "contentinfo", "navigation"}
JS = (pathlib.Path(__file__).parent / "look.js").read_text()


def browser(home):
    options = Options()
    options.binary_location = shutil.which("chromium")
    arguments = ["--headless=new", f"--user-data-dir={home}/profile", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
                 "--disable-background-networking", "--disable-component-update", "--no-first-run", "--force-color-profile=srgb"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    for argument in arguments:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(service=Service(shutil.which("chromedriver"), log_path=f"{home}/driver.log"), options=options)


class Page:
    """One page, and what was found."""

    def __init__(self, driver, path, wanted):
        self.driver, self.path = driver, path
        self.bars, self.is_pictured = wanted["bars"], wanted["pictures"]
        self.found = []

    def say(self, kind, what):
        finding = f"{kind}: {what}"
        if finding not in self.found:
            self.found.append(finding)

    def run(self, name, *arguments):
        return self.driver.execute_script(f"{JS}\nreturn {name}(...arguments)", *arguments)

    def look(self):
        self.driver.get(self.path.as_uri())
        for size, (width, height, mobile) in SIZES.items():
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile})
            for scheme in SCHEMES:
                self.media("screen", scheme)
                for kind, what in self.run("faults", self.bars):
                    self.say(kind, f"{what} ({size}, {scheme})")
                if self.is_pictured:
                    self.picture(f"{size}-{scheme}")
        self.logs()
        self.tree()
        self.keyboard()
        self.print()
        return self.found

    def media(self, media, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def logs(self):
        """What the console says, and what was asked of the network."""
        for entry in self.driver.get_log("browser"):
            if entry["level"] in LOUD:
                self.say("console", entry["message"])
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] != "Network.requestWillBeSent":
                continue
            url = message["params"]["request"]["url"].split("#")[0]
            if url != self.path.as_uri():
                self.say("network", url)

    def picture(self, name):
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "optimizeForSpeed": True})
        self.path.with_name(f"{self.path.stem}-{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def tree(self):
        """What somebody hears who does not see."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        nodes = [node for node in nodes if not node.get("ignored")]
        for landmark in LANDMARKS - {node["role"]["value"] for node in nodes if "role" in node}:
            self.say("landmark", f"there is no {landmark}")
        heard = " ".join(node["name"]["value"] for node in nodes if node["role"]["value"] == "StaticText")
        heard = re.sub(r"\s+", " ", heard)
        for text in self.run("told"):
            if re.sub(r"\s+", " ", text).strip() not in heard:
                self.say("hidden", f"nobody is told: {text}")

    def keyboard(self):
        """Every element that can have the focus gets it, in the order of the page, and shows it."""
        expected = self.run("focusable")
        self.run("watch")
        ActionChains(self.driver).send_keys(Keys.TAB * len(expected)).perform()
        had = self.run("watched")
        if [name for name, _ in had] != expected:
            self.say("order", f"{expected} is the order of the page, and {[name for name, _ in had]} that of the Tab key")
        for name, is_visible in had:
            if not is_visible:
                self.say("focus", f"{name} does not show that it has it")

    def print(self):
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        # Who reads in the dark prints on white paper all the same.
        self.media("print", "dark")
        for what in self.run("unprintable"):
            self.say("print", what)
        if not self.is_pictured:
            return
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        pdf = self.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": False})
        self.path.with_suffix(".pdf").write_bytes(base64.b64decode(pdf["data"]))


def main():
    pages, home, plan = sys.argv[1:]
    plan = json.loads(pathlib.Path(plan).read_text())
    driver = browser(home)
    try:
        # What Chromium shows at first is none of ours.
        driver.get("about:blank")
        driver.get_log("performance")
        found = {name: Page(driver, pathlib.Path(pages, f"{name}.html"), wanted).look() for name, wanted in plan.items()}
    finally:
        driver.quit()
    json.dump(found, sys.stdout)


main()
