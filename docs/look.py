#!/usr/bin/env python3
"""Looks at the book's pages in Chromium, in a wide and in a narrow window, and tells what does not fit: look.py PAGES PICTURES.

A page must not be wider than its window; only tables and blocks of code may be wider than the page, which scroll by themselves. Pictures of all pages
are left in the folder PICTURES.
"""

import base64
import os
import shutil
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SIZES = {"wide": (1280, 900, False), "narrow": (390, 844, True)}
# Pages of mdBook's own.
OTHERS = ("404.html", "toc.html", "print.html")
FAULTS = """
const [isWide] = arguments, faults = [];
if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth} pixels wide`);
for (const element of document.querySelectorAll('main *')) {
  let scrolls = false;
  for (let up = element; up && up.tagName != 'MAIN'; up = up.parentElement) scrolls ||= ['auto', 'scroll'].includes(getComputedStyle(up).overflowX);
  const box = element.getBoundingClientRect();
  if (!scrolls && box.width && box.right > innerWidth + 1) faults.push(`${element.tagName} leaves the window: ${element.textContent.slice(0, 60)}`);
}
for (const table of document.querySelectorAll('.table-wrapper'))
  if (isWide && table.scrollWidth > table.clientWidth + 1) faults.push(`a table is ${table.scrollWidth} of ${table.clientWidth} pixels wide`);
for (const image of document.images) if (!image.naturalWidth) faults.push(`there is no picture ${image.src}`);
return faults;
"""
WRONG = "<!doctype html><meta name=viewport content='width=device-width'><main><p style='width: 2000px'>wide</p><img src=no-such.svg></main>"


def browser(home):
    options = Options()
    options.binary_location = shutil.which("chromium")
    arguments = ["--headless=new", f"--user-data-dir={home}/profile", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
                 "--disable-background-networking", "--disable-component-update", "--no-first-run"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    for argument in arguments:
        options.add_argument(argument)
    return webdriver.Chrome(service=Service(shutil.which("chromedriver"), log_path=f"{home}/driver.log"), options=options)


def look(driver, page, picture=None):
    """What is wrong with a page, in either window."""
    faults = []
    for name, (width, height, mobile) in SIZES.items():
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(page.as_uri())
        faults += [f"{fault} ({name})" for fault in driver.execute_script(FAULTS, not mobile)]
        if picture:
            shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "optimizeForSpeed": True})
            picture.with_name(f"{picture.name}-{name}.png").write_bytes(base64.b64decode(shot["data"]))
    return faults


def main():
    folder, pictures = (Path(argument).resolve() for argument in sys.argv[1:])
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as home:
        wrong = Path(home, "wrong.html")
        wrong.write_text(WRONG)
        driver = browser(home)
        try:
            # What finds nothing on a page that is all wrong could find nothing on any.
            found = look(driver, wrong)
            if len(found) != 6:
                sys.exit(f"look.py: of a page that is all wrong it says only {found}")
            faults = []
            for page in sorted(folder.rglob("*.html")):
                if page.name not in OTHERS:
                    name = page.relative_to(folder).with_suffix("").as_posix()
                    faults += [f"{name}: {fault}" for fault in look(driver, page, pictures / name.replace("/", "-"))]
        finally:
            driver.quit()
    if faults:
        sys.exit("\n".join(faults))


main()
