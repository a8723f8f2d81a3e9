"""The report of a run.

data    rows, thresholds and their verdict (contract in the design)
files   report.json and report.html, written and read
page    the HTML page
plots   bars and lines as inline SVG

Must never import a scenario or the harness: a report measures nothing.
"""
