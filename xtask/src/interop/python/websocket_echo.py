"""Sends back every WebSocket message: websocket_echo.py PORT"""

import asyncio
import logging
import sys

from websockets.asyncio.server import serve

# Broken frames are what it is there for.
logging.disable(logging.CRITICAL)


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    port = int(sys.argv[1])
    async with serve(echo, "127.0.0.1", port, max_size=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
