"""``python -m ops.generate``: write every generated file of the repository."""

from __future__ import annotations

from ops.generate.files import ROOT, generated

if __name__ == "__main__":
    for path, text in generated().items():
        file = ROOT / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
