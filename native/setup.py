"""Packaging of mic's compiled fast lane: an extra of mic, for speed only."""

from setuptools import Extension, setup

setup(
    name="mic-native",
    version="0.1.0",
    description="The compiled fast lane of mic, the machine image customizer",
    license="Apache-2.0",
    python_requires=">=3.11",
    ext_modules=[
        Extension(
            "mic_native",
            ["fastlane.c"],
            # No debugging information: it would have the names of temporary directories.
            extra_compile_args=[
                "-g0",
                "-std=c11",
                "-Wall",
                "-Wextra",
                "-Werror=implicit-function-declaration",
            ],
        )
    ],
)
