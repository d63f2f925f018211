"""Writes the seed corpus of the `open` target to fuzz/corpus/open."""

import base64
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz/corpus/open"


def seeds():
    """The published vectors, then the blocks of the example."""
    vectors = ROOT / "tests/crypto/vectors/message-format-v2.json"
    for test in json.loads(vectors.read_text())["tests"]:
        yield base64.b64decode(test["message"])
    for block in re.findall(r"```hex\n(.*?)```", (ROOT / "docs/formats.md").read_text(), re.DOTALL):
        yield bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))


def main():
    CORPUS.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (CORPUS / f"seed-{number:02}").write_bytes(seed)


if __name__ == "__main__":
    main()
