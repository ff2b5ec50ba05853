"""The broker's three sockets as libzmq has them, with CURVE: what is pushed is published, and questions are answered.

Its arguments are a folder with `clients/NAME.key` of whoever is allowed, the first port, and in hex a beat and the
parts of an answer, with commas between. It makes `server.key` in the folder, and says when it is ready.
"""

import pathlib
import sys
import time

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
beat, answer = bytes.fromhex(sys.argv[3]), [bytes.fromhex(part) for part in sys.argv[4].split(",")]

context = zmq.Context()
doorman = ThreadAuthenticator(context)
doorman.start()
doorman.configure_curve(domain="*", location=str(folder / "clients"))
public, secret = zmq.auth.load_certificate(zmq.auth.create_certificates(folder, "server")[1])


def bind(kind: int, offset: int) -> zmq.Socket:
    socket = context.socket(kind)
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = public, secret
    # Whoever does not answer is disconnected.
    socket.heartbeat_ivl, socket.heartbeat_timeout = 100, 1000
    socket.bind(f"tcp://127.0.0.1:{port + offset}")
    return socket


pull, publisher, router = bind(zmq.PULL, 0), bind(zmq.PUB, 1), bind(zmq.ROUTER, 2)
poller = zmq.Poller()
poller.register(pull, zmq.POLLIN)
poller.register(router, zmq.POLLIN)
print("ready", flush=True)
last = 0.0
while True:
    ready = dict(poller.poll(100))
    if pull in ready:
        publisher.send_multipart(pull.recv_multipart())
    if router in ready:
        router.send_multipart([router.recv_multipart()[0], *answer])
    if time.monotonic() - last > 0.1:
        last = time.monotonic()
        publisher.send_multipart([b"beat|", beat])
