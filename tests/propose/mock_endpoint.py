#!/usr/bin/env python3
"""A chat endpoint that misbehaves on request. Prints its port, then serves until stdin closes.

The request's body holds "mock": {"id": n, "script": [what, ...]}: try k of that id meets script[k] (the last one repeats);
without it, or for the llm proposer, --script FILE names the answers in turn. GET /stats tells how often each id got a whole
answer, and how many requests came.
"""
import asyncio
import json
import sys

tries, whole, total, wrong_key, roles, asked = {}, {}, 0, 0, set(), []
answers = []
served = 0


def chunk(text, why=None, usage=False):
    o = {"id": "chatcmpl-BxJ3sWq8vT1mYk2nZ0aLrE5d", "object": "chat.completion.chunk", "created": 1764000000, "model": "mock-1",
         "system_fingerprint": None, "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": why}],
         "usage": None}
    if usage:
        o["usage"] = {"prompt_tokens": 100, "completion_tokens": 10}
    return b"data: " + json.dumps(o, ensure_ascii=False).encode() + b"\n\n"


def head(status="200 OK", kind="text/event-stream", extra=""):
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}Connection: close\r\n\r\n".encode()


async def answer(what, key, text, w):
    name, _, arg = what.partition(":")
    good = b": keep-alive\r\n\r\n" + chunk(text[: len(text) // 2]) + chunk(text[len(text) // 2:]) + chunk("", "stop", True) + b"data: [DONE]\n\n"
    if name == "ok":
        w.write(head() + good)
    elif name == "slow":                      # arg: events@a second
        w.write(head())
        count, rate = arg.split("@")
        for i in range(int(count)):
            w.write(chunk("token\n" if i % 8 == 7 else "token "))
            await w.drain()
            await asyncio.sleep(1 / int(rate))
        w.write(chunk(text) + chunk("", "stop", True) + b"data: [DONE]\n\n")
    elif name == "bytes":                     # every byte in a packet of its own
        w.write(head())
        for i in range(len(good)):
            w.write(good[i: i + 1])
            await w.drain()
            if i % 16 == 0:
                await asyncio.sleep(0)
    elif name == "json":
        w.write(head(kind="application/json") + json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}],
                                                            "usage": {"prompt_tokens": 100, "completion_tokens": 10}}).encode())
    elif name == "429":
        w.write(head("429 Too Many Requests", "application/json", f"Retry-After: {arg or 1}\r\n") + b'{"error": {"message": "slow down"}}')
    elif name in ("500", "503", "400", "401", "404"):
        w.write(head(f"{name} No", "application/json") + b'{"error": {"message": "no"}}')
    elif name == "moved":
        w.write(head("308 Permanent Redirect", "text/plain", "Location: http://elsewhere.invalid/v1/chat/completions\r\n"))
    elif name == "echo":                      # repeats the key that it refuses
        w.write(head("401 Unauthorized", "application/json") + b'{"error": {"message": "Incorrect API key provided: secret. Get one."}}')
    elif name == "unknown":
        w.write(head("400 Bad Request", "application/json") + json.dumps({"error": {"message": f"Unsupported parameter: '{arg}' is not supported with this model."}}).encode())
    elif name == "stall0":
        w.write(head())
        await w.drain()
        await asyncio.sleep(30)
    elif name == "stall1":
        w.write(head() + chunk("begin"))
        await w.drain()
        await asyncio.sleep(30)
    elif name == "truncated":
        w.write(head() + chunk(text[:3]))
    elif name == "half":                      # in the middle of an event
        w.write(head() + good[: len(good) // 3])
    elif name == "garbage":
        w.write(head() + b"data: {{{{ \xff\xfe not json\n\n")
    elif name == "huge":
        w.write(head())
        try:
            for _ in range(200):
                w.write(chunk("x" * 100000))
                await w.drain()
        except ConnectionError:
            pass
    elif name == "html":
        w.write(head(kind="text/html") + b"<html><body>hello</body></html>")
    elif name == "reset":
        w.transport.abort()
        return False
    elif name == "tool":
        w.write(head() + b'data: {"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, "finish_reason": "tool_calls"}]}\n\ndata: [DONE]\n\n')
    elif name == "empty":
        w.write(head() + b'data: {"choices": []}\n\ndata: [DONE]\n\n')
    elif name == "cut":
        w.write(head() + chunk(text) + chunk("", "length", True) + b"data: [DONE]\n\n")
    elif name == "nodone":                    # a finish_reason, and no [DONE]
        w.write(head() + chunk(text) + chunk("", "stop", True))
    return name in ("ok", "slow", "bytes", "json", "cut", "nodone")


async def serve(r, w):
    global total, served, wrong_key
    try:
        request = await r.readuntil(b"\r\n\r\n")
        headers = request.decode("latin-1").lower()
        if request.startswith(b"GET"):
            w.write(head(kind="application/json") + json.dumps({"total": total, "whole": whole, "wrong_key": wrong_key, "roles": sorted(roles), "opinions": sum("opinion" in a for a in asked), "reviews": sum("No code" in a for a in asked)}).encode())
            return
        proxied = request.startswith(b"POST http://model.invalid/")
        length = int(headers.split("content-length:")[1].split("\r\n")[0])
        body = json.loads(await r.readexactly(length))
        total += 1
        if "authorization: bearer secret" not in headers:
            wrong_key += 1
        mock = body.get("mock")
        if "messages" in body:
            roles.add(" ".join(m["role"] for m in body["messages"]))
            asked.append(body["messages"][-1]["content"])
        if mock is None:
            served += 1
            what, text = answers[(served - 1) % len(answers)] if answers else ("ok", "no answer")
            key = f"s{served}"
        else:
            key = str(mock["id"])
            k = tries[key] = tries.get(key, 0) + 1
            what, text = mock["script"][min(k, len(mock["script"])) - 1], mock.get("text", "answer " + key)
        if what == "proxied":
            what = "ok" if proxied else "400"
        if what.startswith("picky:"):             # a server that does not know those words
            unknown = [word for word in what[6:].split("+") if word in body]
            what = "unknown:" + unknown[0] if unknown else "ok"
        if await answer(what, key, text, w):
            await w.drain()
            whole[key] = whole.get(key, 0) + 1
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        try:
            w.close()
        except ConnectionError:
            pass


async def main():
    if "--script" in sys.argv:
        answers.extend(json.load(open(sys.argv[sys.argv.index("--script") + 1])))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
