"""An HTTP/2 server on loopback, in the clear, that answers as a test says. Tests only; `http_sink` is its elder for HTTP/1.1."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

from tests.channels.http_sink import Sink

Reply2 = tuple[int, dict[str, str], object] | Literal["hangs", "breaks_off", "nonsense"]
"""Status, headers and JSON (None for no body)."""


@asynccontextmanager
async def sink2(reply: Reply2) -> AsyncIterator[Sink]:
    """A server that reads each request whole and does `reply`. What arrived reads as HTTP/1.1 does."""
    heard = Sink()
    open_now: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.connections += 1
        open_now.add(writer)
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        requests: dict[int, list[bytes]] = {}
        while raw := await reader.read(65_536):
            try:
                events = connection.receive_data(raw)
            except ProtocolError:  # the client has gone
                break
            for event in events:
                if isinstance(event, RequestReceived):
                    fields = dict(event.headers)
                    first = f"{fields[':method']} {fields[':path']} HTTP/2"
                    lines = [first, *(f"{name}: {value}" for name, value in event.headers if not name.startswith(":"))]
                    requests[event.stream_id] = ["\r\n".join([*lines, "", ""]).encode()]
                elif isinstance(event, DataReceived):
                    requests[event.stream_id].append(event.data)
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    heard.arrived.append(b"".join(requests.pop(event.stream_id)))
                    _answer(reply, connection, event.stream_id, writer)
            if not writer.is_closing():
                writer.write(connection.data_to_send())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    heard.port = server.sockets[0].getsockname()[1]
    try:
        yield heard
    finally:
        server.close()
        for writer in open_now:
            writer.transport.abort()


def _answer(reply: Reply2, connection: H2Connection, stream: int, writer: asyncio.StreamWriter) -> None:
    if reply == "breaks_off":
        writer.transport.abort()
    elif reply == "nonsense":
        writer.write(b"\x00\xff this is not HTTP\r\n\r\n")
        writer.close()
    elif reply != "hangs":
        status, headers, body = reply
        connection.send_headers(stream, [(":status", str(status)), *headers.items()], end_stream=body is None)
        if body is not None:
            connection.send_data(stream, json.dumps(body).encode(), end_stream=True)
