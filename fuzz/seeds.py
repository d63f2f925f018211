"""Writes the seed corpora of the fuzz targets to fuzz/corpus."""

import base64
import hashlib
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz/corpus"


def seeds():
    """The published vectors, then the blocks of the example."""
    vectors = ROOT / "tests/crypto/vectors/message-format-v2.json"
    for test in json.loads(vectors.read_text())["tests"]:
        yield base64.b64decode(test["message"])
    for block in re.findall(r"```hex\n(.*?)```", (ROOT / "docs/formats.md").read_text(), re.DOTALL):
        yield bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))


def audit_seeds():
    """A log of three lines, whole, without its second line, and torn."""
    lines, previous = [], "0" * 64
    for sequence in range(3):
        genesis = ',"genesis":{"installation":"i","version":"0"}' if sequence == 0 else ""
        hashed = (
            '{"stream":"audit","schemaVersion":1,"eventTime":"2026-11-25T10:00:00Z","eventSource":"kms.keystead.dev",'
            '"eventName":"Decrypt","userIdentity":{"user":"u"},"decision":"Allow","requestID":"r","replica":"p"'
            f'{genesis},"chain":{{"id":"c","sequence":{sequence},"previous":"{previous}"'
        ).encode()
        previous = hashlib.sha256(b"keystead/v1/audit\0" + hashed).hexdigest()
        lines.append(hashed + f',"hash":"{previous}"}}}}\n'.encode())
    yield b"".join(lines)
    yield lines[0] + lines[2]
    yield lines[0] + lines[1][:50]


def main():
    for target, made in (("open", seeds()), ("audit", audit_seeds())):
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(made):
            (CORPUS / target / f"seed-{number:02}").write_bytes(seed)


if __name__ == "__main__":
    main()
