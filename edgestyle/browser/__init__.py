"""Exported files in browsers: headless Chromium on this machine, or any phone that opens a page.

measuring.py  times files on every device that opens the page: `measure`
tab.py        one page in headless Chromium that runs what it is given: behind the browser runners
protocol.py   what the two tell each other
server.py     serves the page, the runtimes and the files; takes the results
site.py       serves a folder
listening.py  what both servers share: addresses, certificate, headers
chromium.py   finds Chromium or Chrome and starts it without a window
packages.py   onnxruntime-web and LiteRT.js from npm, in a cache folder
page/         the page, in plain JavaScript

All parties speak through the server: a device joins, is sent jobs as they come, and posts the result of each.
"""

from edgestyle.browser.measuring import Measurement, measure
from edgestyle.browser.protocol import DELEGATES, ENGINES

__all__ = ["DELEGATES", "ENGINES", "Measurement", "measure"]
