#!/usr/bin/env python3
"""A small agent of a shop: answers questions about orders with two tools, over any OpenAI-compatible server.

A worker of a pool: one line of JSON in (the example), one line out (the answer, its steps, its tokens).
Python's standard library only.

MODEL_BASE_URL  address of the server, such as http://localhost:11434/v1
MODEL_API_KEY   its key; `none` for a server without
AGENT_MODEL     name of the model
AGENT_TOOLS     `all`, or `none`: the same agent without its tools
"""

import csv
import json
import os
import pathlib
import sys
import urllib.request

HERE = pathlib.Path(__file__).parent
ORDERS = {row["id"]: row for row in csv.DictReader((HERE / "orders.csv").open())}
MOST_STEPS = 6
SYSTEM = "You answer customers of a shop in one sentence. Look orders up; never guess. Say amounts in euros."
TOOLS = [
    {"type": "function", "function": {
        "name": "lookup_order",
        "description": "The status, the item and the price of an order.",
        "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    }},
    {"type": "function", "function": {
        "name": "refund_amount",
        "description": "What is paid back for an order: nothing once it is older than 30 days.",
        "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    }},
]


def lookup_order(order_id):
    order = ORDERS.get(order_id)
    if order is None:
        return {"error": f"no order {order_id}"}
    return {"status": order["status"], "item": order["item"], "price": order["price"]}


def refund_amount(order_id):
    order = ORDERS.get(order_id)
    if order is None:
        return {"error": f"no order {order_id}"}
    return {"amount": order["price"] if int(order["age_days"]) <= 30 else "0"}


def ask(messages):
    body = {"model": os.environ.get("AGENT_MODEL", "gpt-5-mini"), "messages": messages}
    if os.environ.get("AGENT_TOOLS", "all") == "all":
        body["tools"] = TOOLS
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['MODEL_API_KEY']}"}
    url = os.environ["MODEL_BASE_URL"].rstrip("/") + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def answer(question):
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    steps, usage = [], {"input": 0, "output": 0}
    for _ in range(MOST_STEPS):
        reply = ask(messages)
        said = reply.get("usage") or {}
        usage["input"] += said.get("prompt_tokens", 0)
        usage["output"] += said.get("completion_tokens", 0)
        message = reply["choices"][0]["message"]
        steps.append({"kind": "model", "name": "chat", "model": {"response": reply.get("model")}})
        calls = message.get("tool_calls") or []
        if not calls:
            return {"output": message.get("content") or "", "trace": steps, "usage": usage}
        messages.append(message)
        for call in calls:
            name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
            tool = {"lookup_order": lookup_order, "refund_amount": refund_amount}.get(name)
            result = tool(**arguments) if tool else {"error": f"no tool {name}"}
            steps.append({"tool": name, "arguments": arguments, "result": result})
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
    return {"error": f"no answer after {MOST_STEPS} steps", "trace": steps}


for line in sys.stdin:
    asked = json.loads(line)
    try:
        told = answer(asked["input"])
    except Exception as error:  # One question that fails must not cost the worker.
        told = {"error": f"{type(error).__name__}: {error}"}
    told["request"] = asked.get("request")
    print(json.dumps(told), flush=True)
