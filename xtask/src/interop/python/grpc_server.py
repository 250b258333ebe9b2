"""A gRPC server without generated code: grpc_server.py PORT NAME FOLDER

Messages are bytes as they are. Its name comes with every response, as metadata and trailer.
What is cancelled is written to the file `cancelled` of the folder.
"""

import pathlib
import sys
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

port, name, folder = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
checks = health.HealthServicer()


def introduce(context):
    context.send_initial_metadata((("x-server", name),))
    context.set_trailing_metadata((("x-trailer", name),))


def unary(request, context):
    introduce(context)
    return request


def fail(request, context):
    introduce(context)
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "grün: 100 % wrong\n")


def count_down(request, context):
    introduce(context)
    for number in range(int(request), 0, -1):
        yield str(number).encode()


def join(requests, context):
    introduce(context)
    return b",".join(requests)


def echo(requests, context):
    introduce(context)
    for request in requests:
        yield request


def wait(request, context):
    over = threading.Event()
    context.add_callback(over.set)
    with (folder / "begun").open("a") as file:
        file.write(request.decode() + "\n")
    over.wait(30)
    if not context.is_active():
        with (folder / "cancelled").open("a") as file:
            file.write(request.decode() + "\n")
    return b"late"


def set_health(request, context):
    states = health_pb2.HealthCheckResponse
    checks.set("", states.SERVING if request == b"up" else states.NOT_SERVING)
    return b""


methods = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "CountDown": grpc.unary_stream_rpc_method_handler(count_down),
    "Join": grpc.stream_unary_rpc_method_handler(join),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "SetHealth": grpc.unary_unary_rpc_method_handler(set_health),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", methods),))
health_pb2_grpc.add_HealthServicer_to_server(checks, server)
checks.set("", health_pb2.HealthCheckResponse.SERVING)
if server.add_insecure_port(f"127.0.0.1:{port}") != port:
    sys.exit(f"port {port} is taken")
server.start()
server.wait_for_termination()
