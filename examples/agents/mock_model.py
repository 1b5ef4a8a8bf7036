#!/usr/bin/env python3
"""An OpenAI-compatible model server without a model: follows a few rules, costs nothing, gives the same answer always.

python3 mock_model.py [PORT]   prints the address it listens at; a free port without one.
"""

import http.server
import json
import re
import sys


def called(name, order):
    arguments = json.dumps({"order_id": order})
    call = {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def said(text):
    return {"role": "assistant", "content": text}


def reply(body):
    messages = body["messages"]
    question = next(m["content"] for m in messages if m["role"] == "user")
    order = (re.search(r"A-\d+", question) or ["none"])[0]
    about_money = "back" in question or "refund" in question
    if messages[-1]["role"] == "tool":
        result = json.loads(messages[-1]["content"])
        if "error" in result:
            return said(f"I cannot find order {order}.")
        if "amount" in result:
            return said(f"You get {result['amount']} euros back for order {order}.")
        return said(f"Order {order}, your {result['item']}, is {result['status']}.")
    if body.get("tools"):
        return called("refund_amount" if about_money else "lookup_order", order)
    known = re.search(r"order A-\d+: ([^,]+), ([^,]+), (\d+) euros, (\d+) days", messages[0]["content"])
    if known and not about_money:
        return said(f"Order {order}, your {known[1]}, is {known[2]}.")
    if known:
        return said(f"You get {known[3] if int(known[4]) <= 30 else 0} euros back for order {order}.")
    return said(f"Order {order} is on its way and will be with you soon.")


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = reply(body)
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        tokens = {"prompt_tokens": len(json.dumps(body["messages"])) // 4, "completion_tokens": 12}
        answer = {
            "id": "chatcmpl-mock", "object": "chat.completion", "created": 0, "model": f"{body['model']}-mock",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": tokens,
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Server)
print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
server.serve_forever()
