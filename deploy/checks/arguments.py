"""Checks that the command takes every command line that is written in this folder: `arguments.py PATH-OF-LOOPSCOPE`.

Each is run with `--help` at its end, which is shown only where everything before it could be read.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys

import yaml

FOLDER = pathlib.Path(__file__).resolve().parent.parent


def in_containers(value):
    """Yields the arguments of every container of our image in a YAML value."""
    if isinstance(value, list):
        for part in value:
            yield from in_containers(part)
    if isinstance(value, dict):
        if value.get("image", "").split(":")[0] == "loopscope":
            yield value.get("args", value.get("command", []))
        for part in value.values():
            yield from in_containers(part)


def written(path):
    """Yields the command lines in a file, without the command itself."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    match path.suffix or path.name:
        case ".yml" | ".yaml":
            for document in yaml.safe_load_all(text):
                yield from in_containers(document)
        case "Containerfile":
            for words in re.findall(r"^(?:CMD|.* CMD) (\[.*\])$", text, re.MULTILINE):
                words = json.loads(words)
                yield words[1:] if words[0] == "loopscope" else words
        case ".service":
            for line in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE):
                yield shlex.split(line)[1:]
        case ".md":
            for block in re.findall(r"```(?:sh|ini)\n(.*?)```", text, re.DOTALL):
                for line in re.findall(r"(?:^|\s|/)loopscope ((?:demo|healthy|serve|ls|top|flame)\b[^#|>&\n]*)", block):
                    yield shlex.split(line)


def main():
    command, count, status = sys.argv[1], 0, 0
    for path in sorted(path for path in FOLDER.rglob("*") if path.is_file()):
        for words in written(path):
            count += 1
            done = subprocess.run([command, *words, "--help"], capture_output=True, text=True, timeout=30)
            if done.returncode != 0:
                status = 1
                line = shlex.join(["loopscope", *words])
                print(f"{path.relative_to(FOLDER)}: `{line}` is refused:\n{done.stderr}")
    print(f"{count} command lines")
    return status if count >= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
