"""Adds up the lines of an order: `[{"price": 2.5, "count": 2}]` makes it print `2 items for 5.00`."""

import json

from componentize_py_types import Err
from spin_sdk import variables
from spin_sdk.wit import exports
from spin_sdk.wit.imports.spin_redis_redis_3_0_0 import Error_Other


class RedisHandler(exports.RedisHandler):
    async def handle_message(self, message: bytes) -> None:
        try:
            lines = json.loads(message)
            count = sum(line["count"] for line in lines)
            total = sum(line["price"] * line["count"] for line in lines)
        except (ValueError, KeyError, TypeError) as error:
            print(f"not an order: {error!r}")
            # A failed message; any other exception ends the instance, which is a failed message too.
            raise Err(Error_Other("not an order"))
        print(f"{count} items for {total:.2f} {await variables.get('currency')}")
