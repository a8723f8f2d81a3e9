"""Hook of hatchling: wheels and editable installations have the native loop where a C compiler is at hand."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeLoopHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling has no type for its configuration
    """Compile ``sign_run.c`` before the files of the wheel are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the library to the wheel; where it cannot be made the wheel has none, and lanes sign by python-pkcs11.

        The wheel stays one for every platform: another processor does not load the library, and a build host needs none. With
        ``SIGMILL_NATIVE_LOOP=required`` in the environment, as in `make dist` and in the image, the build fails instead.
        """
        del version
        build = runpy.run_path(str(Path(self.root, "workers/hsm/native/build.py")))
        try:
            library: Path = build["compile_library"]()
        except (build["CompilerMissing"], build["CompileFailed"], OSError) as error:
            if os.environ.get("SIGMILL_NATIVE_LOOP") == "required":
                raise
            self.app.display_warning(f"without the native loop of lanes: {error}")
            return
        build_data["artifacts"].append(f"/{library.relative_to(self.root)}")
