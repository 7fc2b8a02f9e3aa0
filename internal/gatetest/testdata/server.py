# An MCP server as Python ones are built: asyncio over standard input. Its tool
# says where it runs, what of the machine it needs, and reads a file it is given.
import asyncio
import json
import os
import pathlib
import socket
import ssl
import sys
import tempfile
import threading

TOOL = {"name": "look", "inputSchema": {"type": "object", "properties": {"file": {"type": "string"}}}}


def look(file):
    thread = threading.Thread(target=socket.socketpair)
    thread.start()
    thread.join()
    with tempfile.TemporaryFile() as scratch:
        scratch.write(b"x")
    try:
        read = pathlib.Path(file).read_text()
    except OSError as e:
        read = type(e).__name__
    return {
        "prefix": sys.prefix,
        "home": str(pathlib.Path.home()),
        "authorities": ssl.get_default_verify_paths().openssl_cafile is not None,
        "address": socket.getaddrinfo("127.0.0.1", 80)[0][4][0],
        "child": os.popen("echo child").read().strip(),
        "file": read,
    }


def result(method, params):
    if method == "initialize":
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "python", "version": "1"}}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": json.dumps(look(params["arguments"]["file"]))}]}
    return None


async def serve():
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        message = json.loads(line)
        if "id" not in message:
            continue
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        got = result(message["method"], message.get("params"))
        answer |= {"result": got} if got else {"error": {"code": -32601, "message": "Method not found"}}
        print(json.dumps(answer), flush=True)


def main():
    asyncio.run(serve())
