"""Client of ``warm_sigmill``: ``python -I -S warm_client.py ADDRESS WORD…``. Its streams, directory and exit code are the command's.

It imports little, because it starts once per command.
"""

import os
import socket
import sys


def run(address: str, words: list[str]) -> int:
    """Exit code of the command; negative where a signal ended it."""
    fields = [str(len(words)).encode(), *map(os.fsencode, words), os.fsencode(os.getcwd())]  # noqa: PTH109 - pathlib is slow to import
    fields += [name + b"=" + value for name, value in os.environb.items()]
    request = b"\0".join(fields)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + address)
        socket.send_fds(connection, [len(request).to_bytes(4)], [0, 1, 2])
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(16), b""))
    return int(answer)


if __name__ == "__main__":
    code = run(sys.argv[1], sys.argv[2:])
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)
