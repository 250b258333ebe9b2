"""Calls the methods of grpc_server.py: grpc_client.py ADDRESS CA-FILE-OR-NOTHING WORD [ARGUMENT]

The word is the name of a function below; what it finds wrong is an exception.
"""

import pathlib
import sys
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

address, ca, word = sys.argv[1:4]
if ca:
    credentials = grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes())
    options = (("grpc.ssl_target_name_override", "test.example"),)
    channel = grpc.secure_channel(address, credentials, options)
else:
    channel = grpc.insecure_channel(address)

unary = channel.unary_unary("/test.Test/Unary")
fail = channel.unary_unary("/test.Test/Fail")
count_down = channel.unary_stream("/test.Test/CountDown")
join = channel.stream_unary("/test.Test/Join")
echo = channel.stream_stream("/test.Test/Echo")
wait = channel.unary_unary("/test.Test/Wait")
SOON = 10


def expect(is_so, *what):
    if not is_so:
        raise AssertionError(what)


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def kinds():
    for message in [b"", b"hello", bytes(range(256)) * 8192]:
        response, call = unary.with_call(message, timeout=SOON)
        expect(response == message, "unary", len(message), len(response))
        expect(dict(call.initial_metadata()).get("x-server"), "no metadata")
        expect(dict(call.trailing_metadata()).get("x-trailer"), "no trailers")
    got = list(count_down(b"1000", timeout=SOON))
    expect(got == [str(n).encode() for n in range(1000, 0, -1)], "server streaming", len(got))
    parts = [str(n).encode() for n in range(1000)]
    got = join(iter(parts), timeout=SOON)
    expect(got == b",".join(parts), "client streaming", len(got))

    # Each request is sent when the response to the one before is there.
    responses = []

    def turns():
        for number in range(100):
            while len(responses) < number:
                time.sleep(0.0005)
            yield str(number).encode()

    for response in echo(turns(), timeout=SOON):
        responses.append(response)
    expect(responses == [str(n).encode() for n in range(100)], "both streaming", responses)
    code, details = status_of(lambda: fail(b"", timeout=SOON))
    expect(code == grpc.StatusCode.FAILED_PRECONDITION, "status", code)
    expect(details == "grün: 100 % wrong\n", "details", details)
    code, _ = status_of(lambda: channel.unary_unary("/test.Test/None")(b"", timeout=SOON))
    expect(code == grpc.StatusCode.UNIMPLEMENTED, "unknown method", code)


def health():
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=SOON)
    expect(answer.status == health_pb2.HealthCheckResponse.SERVING, "health", answer)


def balance():
    names = [unary.with_call(b"", timeout=SOON)[1].initial_metadata() for _ in range(40)]
    names = [dict(metadata)["x-server"] for metadata in names]
    counts = {name: names.count(name) for name in set(names)}
    expect(len(counts) == 2 and min(counts.values()) >= 5, "one connection, one server", counts)


def deadline():
    begun = time.monotonic()
    code, _ = status_of(lambda: wait(b"deadline", timeout=0.5))
    took = time.monotonic() - begun
    expect(code == grpc.StatusCode.DEADLINE_EXCEEDED, "status", code)
    expect(0.4 < took < 2, "it took", took)


def cancel():
    begun = pathlib.Path(sys.argv[4]) / "begun"
    call = wait.future(b"cancel")
    for _ in range(1000):
        if begun.exists() and "cancel" in begun.read_text():
            break
        time.sleep(0.01)
    call.cancel()
    expect(call.code() == grpc.StatusCode.CANCELLED, "status", call.code())
    # Only this call: the connection lives on.
    expect(unary(b"x", timeout=SOON) == b"x", "the connection is gone")


def parallel():
    calls = [unary.future(str(n).encode(), timeout=SOON) for n in range(500)]
    for number, call in enumerate(calls):
        expect(call.result() == str(number).encode(), "a call got another one's response")


def sick():
    channel.unary_unary("/test.Test/SetHealth")(b"down", timeout=SOON)


def well():
    channel.unary_unary("/test.Test/SetHealth")(b"up", timeout=SOON)


def unavailable():
    code, details = status_of(lambda: unary(b"", timeout=SOON))
    expect(code == grpc.StatusCode.UNAVAILABLE, "status", code, details)


globals()[word]()
