"""Sends one command to a development environment: `python -m devnet.shell.client SOCKET COMMAND…`.

It starts often, so it imports the standard library alone.
"""

import json
import socket
import sys


def main(arguments: list[str]) -> int:
    """Send the words, print what comes back, and return 0, or 1 when it is an error or nobody is there."""
    path, *words = arguments
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            connection.sendall(json.dumps(words).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
        except (OSError, ValueError):
            sys.stderr.write("the development environment does not answer: is it running?\n")
            return 1
    if "error" in answer:
        sys.stderr.write(f"{answer['error']}\n")
        return 1
    sys.stdout.write(f"{answer['output']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
