"""The matrix guest in Python without an SDK: the synchronous handler, from this project's own WIT."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.redis_types import Error


class InboundRedis(exports.InboundRedis):
    def handle_message(self, message: bytes) -> None:
        match message:
            case b"ok":
                print("handled ok")
            case b"error":
                raise Err(Error.ERROR)
            case b"trap":
                raise RuntimeError("asked to trap")
            case b"loop":
                while True:
                    pass
            case b"memory":
                taken = []
                while True:
                    taken.append(b"\1" * (1 << 20))
            case _:
                print(f"got {len(message)} bytes")
