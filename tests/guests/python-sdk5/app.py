"""The matrix guest in Python with the Spin SDK 5: the asynchronous handler."""

from componentize_py_types import Err
from spin_sdk.wit import exports
from spin_sdk.wit.imports.spin_redis_redis_3_0_0 import Error_Other


class RedisHandler(exports.RedisHandler):
    async def handle_message(self, message: bytes) -> None:
        match message:
            case b"ok":
                print("handled ok")
            case b"error":
                raise Err(Error_Other("asked to fail"))
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
