"""Hook of hatchling: wheels and editable installations have the native loop where a C compiler is at hand."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeLoopHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling has no type for its configuration
    """Compile ``sign_run.c`` before the files of the wheel are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the library to the wheel; without a compiler the wheel has none, and lanes sign by python-pkcs11.

        The wheel stays one for every platform: another processor does not load the library and needs none.
        """
        del version
        build = runpy.run_path(str(Path(self.root, "workers/hsm/native/build.py")))
        try:
            library: Path = build["compile_library"]()
        except build["CompilerMissing"] as error:
            self.app.display_warning(f"without the native loop of lanes: {error}")
            return
        build_data["artifacts"].append(f"/{library.relative_to(self.root)}")
