"""What CURVE costs the broker: its processor time for each frame, with keys and without, at a steady rate.

One publisher and one subscriber of libzmq (pyzmq). The program `zibrato-broker` is the only argument.
"""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import msgpack
import zmq

SECONDS, SIZES = 4.0, {64: 4000, 1024: 4000, 32 * 1024: 500, 256 * 1024: 80}


def cpu(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(program: str, secure: bool) -> dict[int, float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = pathlib.Path(tempfile.mkdtemp())
    (server, server_secret), (own, own_secret) = zmq.curve_keypair(), zmq.curve_keypair()
    command = [program, "--port", str(port), "--state", "none"]
    if secure:
        key = folder / "broker.key_secret"
        key.write_text(f'curve\n    public-key = "{server.decode()}"\n    secret-key = "{server_secret.decode()}"\n')
        key.chmod(0o600)
        (folder / "allowed.toml").write_text(f"[bench]\nkey = '{own.decode()}'\n")
        command += ["--keys", str(key), "--allow", str(folder / "allowed.toml")]
    broker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    context, costs = zmq.Context(), {}
    try:
        ends = []
        for kind, at in ((zmq.PUSH, port), (zmq.SUB, port + 1)):
            end = context.socket(kind)
            end.linger, end.rcvtimeo = 0, 20_000
            if secure:
                end.curve_publickey, end.curve_secretkey, end.curve_serverkey = own, own_secret, server
            end.connect(f"tcp://127.0.0.1:{at}")
            ends.append(end)
        push, sub = ends
        sub.setsockopt(zmq.SUBSCRIBE, b"info|")
        sub.setsockopt(zmq.SUBSCRIBE, b"beat|")
        sub.recv_multipart()
        sequence = 0
        for size, rate in SIZES.items():
            before, count = cpu(broker.pid), 0
            start = time.monotonic()
            while time.monotonic() - start < SECONDS:
                for _ in range(max(1, rate // 100)):
                    sequence += 1
                    count += 1
                    head = [1, b"i" * 16, 1000, sequence, sequence, 0, 1, 1000 + sequence, 1, "h", []]
                    push.send_multipart([b"info|", msgpack.packb(head).ljust(size, b"\0")])
                seen = 0
                while seen < max(1, rate // 100):
                    seen += sub.recv_multipart()[0] == b"info|"
                time.sleep(0.01)
            costs[size] = (cpu(broker.pid) - before) / count * 1e6
    finally:
        context.destroy(linger=0)
        broker.terminate()
        broker.wait()
    return costs


if __name__ == "__main__":
    plain, secure = measure(sys.argv[1], False), measure(sys.argv[1], True)
    print("| bytes a frame | plain, µs CPU a frame | CURVE, µs CPU a frame |")
    print("|---|---|---|")
    for size in SIZES:
        print(f"| {size} | {plain[size]:.0f} | {secure[size]:.0f} |")
