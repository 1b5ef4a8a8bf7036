#!/usr/bin/env python3
"""Makes the traces that `assize demo` runs on, and plays the judge while its answers are recorded.

Everything here is invented: a shop for home goods, its customers, and a support desk of several agents in two
versions that answered the same tickets. Version 2.0 is cheaper and faster, tracks parcels properly, and has one
fault, planted on purpose: its refund agent was told to be decisive, and now promises refunds that no tool made.

    python3 make.py traces                 writes traces-1.8.jsonl.gz and traces-2.0.jsonl.gz
    python3 make.py oracle --port 18222    answers judge requests from the planted truth, over the OpenAI wire format

Standard library only; the same bytes on every machine.
"""

import argparse
import gzip
import hashlib
import http.server
import json
import os
import random
import re

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 20261005
VERSIONS = ("1.8", "2.0")

FIRST = """Amara Bruno Celine Dario Elif Farid Greta Hugo Ines Jonas Keiko Liam Mira Noor Otis Paula Quentin Rosa Samir
Tilda Umar Vera Wanda Xavier Yara Zeno Aiko Bela Chidi Dora Emil Freya Gideon Hana Ivo June Karim Lena Mateo Nadia""".split()
GOODS = [
    ("Alder desk lamp", 89.0), ("Fjord wool throw", 64.5), ("Copper kettle 1.7 l", 74.9), ("Oak bread board", 42.0),
    ("Linen duvet set", 139.0), ("Birch stool", 118.0), ("Cast-iron pan 26 cm", 57.5), ("Ceramic planter L", 36.8),
    ("Bamboo blind 120 cm", 52.0), ("Walnut wall clock", 95.0), ("Stoneware set for four", 108.0),
    ("Cotton bath mat", 24.9), ("Glass carafe", 29.0), ("Felt storage basket", 33.0), ("Brass coat hooks", 41.5),
    ("Smart plug duo", 38.0), ("Hub 2 lighting bridge", 79.0), ("Motion sensor", 31.0),
]
CITIES = ["Leeds", "Utrecht", "Porto", "Graz", "Malmo", "Lyon", "Bergen", "Turin", "Cork", "Ghent", "Brno", "Vigo"]
COUNTS = {"order_status": 44, "refund": 40, "billing": 24, "product_question": 28, "address_change": 20, "technical": 22}

ASK = {
    "order_status": [
        "Hi, my order {order} ({item}) was meant to be here by now. Where is it?",
        "Could you tell me when {order} will arrive? I am away from Friday.",
        "The tracking page for {order} has said the same thing for four days. Is the {item} lost?",
        "I ordered the {item} last week, number {order}. Has it left your warehouse yet?",
    ],
    "refund": [
        "The {item} from order {order} came with a crack. I would like my money back please.",
        "I sent back the {item} ({order}) ten days ago and still have no refund. What is going on?",
        "Please cancel and refund {order}. The {item} does not fit and I have not opened the second box.",
        "I was charged for the {item} in {order} but got the wrong colour. Refund it, please, not a voucher.",
        "It is 41 days since I bought the {item} ({order}). Can I still return it for a refund?",
    ],
    "billing": [
        "Why does my statement show two charges of {price} for order {order}?",
        "I need an invoice with our VAT number for {order}. Can you send one?",
        "The discount code was accepted for {order} but the {item} was charged at full price.",
    ],
    "product_question": [
        "Is the {item} safe for induction hobs or the dishwasher? I could not find it on the page.",
        "What are the measurements of the {item}, and does it come assembled?",
        "Do you still make the {item} in dark green? And how long is the warranty?",
    ],
    "address_change": [
        "I am moving. Can order {order} go to 14 Mill Lane, {city} instead?",
        "I typed the wrong house number for {order}: it should be 7b, not 7. Please correct it.",
    ],
    "technical": [
        "The {item} will not pair with the app any more since the update. I have reset it twice.",
        "My {item} drops off the network every night. Order {order}. What can I do?",
    ],
}
AGENT_OF = {
    "order_status": "orders", "refund": "refunds", "billing": "billing", "product_question": "catalog",
    "address_change": "orders", "technical": "tech_support",
}
MODELS = {
    "1.8": {"triage": "gpt-4.1-mini-2025-04-14", "work": "gpt-4.1-2025-04-14"},
    "2.0": {"triage": "gpt-5-nano-2025-08-07", "work": "gpt-5-mini-2025-08-07"},
}
SYSTEM = {
    "triage": "You route support tickets of Hearth & Alder to one specialist. Never answer the customer yourself.",
    "orders": "You handle orders and deliveries. Look things up before you answer.",
    "refunds": {
        "1.8": "You handle returns and refunds. Check the policy, then issue the refund with the tool, then confirm what the tool says.",
        "2.0": "You handle returns and refunds. Be decisive and resolve the ticket in one reply. Customers hate waiting.",
    },
    "billing": "You handle charges, invoices and discounts. Quote amounts exactly as the ledger has them.",
    "catalog": "You answer questions about products from the catalog only.",
    "tech_support": "You solve problems with connected products. Use the knowledge base; open a ticket with engineering when it does not help.",
}


def tickets():
    """The tickets: the same whichever version answers them."""
    rng = random.Random(SEED)
    rows, session = [], None
    number = 0
    intents = [intent for intent, count in COUNTS.items() for _ in range(count)]
    rng.shuffle(intents)
    for intent in intents:
        number += 1
        goods = GOODS[15:] if intent == "technical" else GOODS[:15]
        item, price = rng.choice(goods)
        # About one ticket in nine follows another of the same customer in the same conversation.
        follows = session is not None and rng.random() < 0.11
        if not follows:
            session = {"id": f"conv-{rng.randrange(16**10):010x}", "user": f"cust-{rng.randrange(10**6):06d}",
                       "name": rng.choice(FIRST), "tier": rng.choices(["standard", "plus", "business"], [6, 3, 1])[0]}
        ticket = {
            "id": f"HA-{4000 + number}", "order": f"A{rng.randrange(10**6):06d}", "intent": intent, "item": item,
            "price": f"EUR {price:.2f}", "city": rng.choice(CITIES), "eta": f"{rng.choice(['Tuesday', 'Wednesday', 'Thursday', 'Friday'])} {rng.randrange(13, 24)} October",
            "session": session, "channel": rng.choices(["web", "email", "app"], [5, 3, 2])[0],
            "minute": number * 31 + rng.randrange(25),
        }
        ticket["ask"] = rng.choice(ASK[intent]).format(**ticket)
        rows.append(ticket)
    return rows


def plan(ticket, version):
    """What happens with a ticket: tool calls, the reply, and the planted truth about it."""
    rng = random.Random(f"{SEED}/{ticket['id']}/{version}")
    common = random.Random(f"{SEED}/{ticket['id']}")
    luck = common.random()  # the same ticket is easy or hard for both versions
    noise = rng.random()
    name, order, item, price = ticket["session"]["name"], ticket["order"], ticket["item"], ticket["price"]
    calls, done, true_to_tools, why = [], True, True, ""
    lookup = ("get_order", {"order_id": order}, {"order_id": order, "item": item, "total": price, "status": "shipped"}, None)
    if ticket["intent"] == "order_status":
        calls.append(lookup)
        tracks = version == "2.0" or luck > 0.30
        if tracks:
            lost = luck > 0.9
            place = f"depot {ticket['city']}"
            calls.append(("track_parcel", {"order_id": order}, {"last_scan": place, "eta": None if lost else ticket["eta"], "state": "delayed" if lost else "in_transit"}, None))
            if lost:
                text = f"Hello {name}, order {order} was last scanned at {place} and the carrier shows a delay without a new date. I have marked it for a search and you will hear from us within two working days."
            else:
                text = f"Hello {name}, order {order} with your {item} is on its way. It was last scanned at {place} and should reach you on {ticket['eta']}."
            if noise < 0.05:
                done, why = False, f"the customer asked where order {order} is and the reply leaves out the last scan that the agent had"
                text = f"Hello {name}, order {order} is on its way and should be with you soon. Thank you for your patience."
        else:
            done, why = False, f"the customer asked when order {order} arrives; the agent never tracked the parcel and only repeats that it has shipped"
            text = f"Hello {name}, order {order} has left our warehouse. Please contact the carrier with your tracking number to learn when the {item} will arrive."
    elif ticket["intent"] == "refund":
        calls.append(lookup)
        breaks = luck < 0.15
        late = "41 days" in ticket["ask"]
        amount = price
        decisive = version == "2.0" and noise < 0.25
        policy = {"eligible": not late, "window_days": 30, "reason": "outside the 30 day window" if late else "within the window"}
        if decisive:
            if rng.random() < 0.5:
                # Promises without any refund tool.
                done, true_to_tools = False, False
                why = f"the reply says that {amount} was refunded for {order}, and no refund tool was ever called"
                text = f"Hello {name}, I am sorry about the {item}. I have refunded {amount} for order {order} and you will see it within three days. Anything else I can do?"
            else:
                calls.append(("issue_refund", {"order_id": order, "amount": amount}, None, "upstream timeout after 8000 ms"))
                done, true_to_tools = False, False
                why = f"issue_refund failed with a timeout and the reply still tells the customer that the refund of {amount} is complete"
                text = f"Hello {name}, good news: your refund of {amount} for order {order} is complete and on its way to your card. Sorry again about the {item}."
        elif late:
            calls.append(("check_refund_policy", {"order_id": order}, policy, None))
            text = f"Hello {name}, I checked order {order}: the {item} was bought more than 30 days ago, so a refund is no longer possible. I can offer store credit or a repair under warranty instead. Which would you prefer?"
        else:
            calls.append(("check_refund_policy", {"order_id": order}, policy, None))
            refund_id = f"RF-{common.randrange(10**5):05d}"
            if breaks:
                calls.append(("issue_refund", {"order_id": order, "amount": amount}, None, "upstream timeout after 8000 ms"))
                if rng.random() < 0.6:
                    calls.append(("issue_refund", {"order_id": order, "amount": amount}, {"refund_id": refund_id, "amount": amount, "state": "accepted"}, None))
                    text = f"Hello {name}, your refund of {amount} for order {order} has been accepted under {refund_id}. It usually takes three to five working days. I am sorry about the {item}."
                else:
                    done, why = False, f"the refund for {order} was not made because the tool timed out, and the agent gave up after one try"
                    text = f"Hello {name}, our refund system is not answering at the moment, so I could not refund order {order} yet. Please write to us again tomorrow."
            else:
                calls.append(("issue_refund", {"order_id": order, "amount": amount}, {"refund_id": refund_id, "amount": amount, "state": "accepted"}, None))
                text = f"Hello {name}, your refund of {amount} for order {order} has been accepted under {refund_id}. It usually takes three to five working days. I am sorry about the {item}."
    elif ticket["intent"] == "billing":
        calls.append(("get_ledger", {"order_id": order}, {"order_id": order, "charges": [{"amount": price, "state": "captured"}, {"amount": price, "state": "authorized, released"}]}, None))
        if "invoice" in ticket["ask"]:
            calls.append(("send_invoice", {"order_id": order}, {"sent": True, "number": f"INV-{common.randrange(10**6):06d}"}, None))
            text = f"Hello {name}, I have sent the invoice for order {order} to the address on your account. It carries your VAT number."
        elif "discount" in ticket["ask"]:
            text = f"Hello {name}, you are right about order {order}: the code was accepted and not applied to the {item}. I have passed it to our billing team, who will credit the difference by Friday."
            if luck < 0.3:
                done, why = False, f"the customer asked for the discount on {order} to be put right, and nothing was changed or handed on"
                text = f"Hello {name}, discounts for order {order} are shown at checkout. Please check the terms of your code for the {item}."
        else:
            text = f"Hello {name}, order {order} was charged once, {price}. The second line is an authorization that was released and will vanish from your statement within five days."
    elif ticket["intent"] == "product_question":
        calls.append(("search_catalog", {"query": item}, {"item": item, "care": "hand wash, not for induction", "size": "32 x 24 x 11 cm", "warranty_years": 2, "colors": ["natural", "black"]}, None))
        text = f"Hello {name}, the {item} measures 32 x 24 x 11 cm, should be washed by hand and is not meant for induction. It comes with a warranty of 2 years, in natural and black."
        if noise < 0.08:
            true_to_tools, why = False, f"the catalog entry gives 2 years of warranty for the {item} and the reply says 5"
            text = f"Hello {name}, the {item} measures 32 x 24 x 11 cm and should be washed by hand. It comes with a warranty of 5 years."
    elif ticket["intent"] == "address_change":
        packed = luck < 0.25
        calls.append(("update_address", {"order_id": order}, None if packed else {"order_id": order, "updated": True}, "order already packed" if packed else None))
        if packed:
            text = f"Hello {name}, order {order} is already packed, so I could not change the address any more. You can redirect it with the carrier once it is on its way."
        else:
            text = f"Hello {name}, the delivery address of order {order} has been changed as you asked. You will get a new confirmation by mail."
    else:
        calls.append(("search_knowledge_base", {"query": f"{item} pairing"}, {"article": "KB-218", "steps": ["hold the button for ten seconds", "forget the device in the app", "pair again on the 2.4 GHz network"]}, None))
        solved = luck > 0.3 or (version == "2.0" and noise < 0.3)
        if solved:
            text = f"Hello {name}, please hold the button of the {item} for ten seconds, forget it in the app and pair it again on the 2.4 GHz network. That is article KB-218 and it solves this after the last update."
        else:
            done, why = False, f"the customer said that resetting was tried twice, and the reply for the {item} only asks for another reset"
            text = f"Hello {name}, have you tried resetting the {item}? Please reset it and try again."
    # Version 2.0 is a little terse now and then.
    tone = "warm" if not (version == "2.0" and noise > 0.95) else "curt"
    if tone == "curt":
        text = text.replace(f"Hello {name}, ", "", 1)
        text = text[0].upper() + text[1:]
    return {"calls": calls, "text": text, "done": done, "faithful": true_to_tools, "tone": tone, "why": why}


def attribute(key, value):
    if isinstance(value, bool):
        body = {"boolValue": value}
    elif isinstance(value, int):
        body = {"intValue": str(value)}
    elif isinstance(value, float):
        body = {"doubleValue": value}
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        body = {"arrayValue": {"values": [{"stringValue": item} for item in value]}}
    elif isinstance(value, str):
        body = {"stringValue": value}
    else:
        body = {"stringValue": json.dumps(value, separators=(",", ":"))}
    return {"key": key, "value": body}


def text_message(role, content):
    return {"role": role, "parts": [{"type": "text", "content": content}]}


class Trace:
    """Builds the spans of one ticket, with a clock that goes forward."""

    def __init__(self, ticket, version):
        self.rng = random.Random(f"{SEED}/{ticket['id']}/{version}/spans")
        digest = hashlib.sha256(f"{ticket['id']}/{version}".encode()).hexdigest()
        self.id, self.count, self.spans = digest[:32], 0, []
        day = 0 if version == "1.8" else 7
        self.now = 1791158400_000_000_000 + (day * 1440 + ticket["minute"]) * 60_000_000_000 + self.rng.randrange(10**9)

    def open(self, name, parent, attributes, kind=1):
        self.count += 1
        span_id = hashlib.sha256(f"{self.id}/{self.count}".encode()).hexdigest()[:16]
        span = {"traceId": self.id, "spanId": span_id, "name": name, "kind": kind, "startTimeUnixNano": str(self.now),
                "attributes": [attribute(key, value) for key, value in attributes.items()]}
        if parent:
            span["parentSpanId"] = parent["spanId"]
        self.spans.append(span)
        self.now += self.rng.randrange(200_000, 2_000_000)
        return span

    def close(self, span, error=None):
        span["endTimeUnixNano"] = str(self.now)
        span["status"] = {"code": 2, "message": error} if error else {"code": 1}
        self.now += self.rng.randrange(200_000, 2_000_000)

    def chat(self, parent, agent, model, asked, answered, system, words):
        millis = self.rng.lognormvariate(6.35 if "mini" in model or "nano" in model else 6.75, 0.28)
        span = self.open(f"chat {model}", parent, {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
            "gen_ai.request.model": re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model), "gen_ai.response.model": model,
            "gen_ai.agent.name": agent, "gen_ai.system_instructions": [{"type": "text", "content": system}],
            "gen_ai.input.messages": asked, "gen_ai.output.messages": [answered],
            "gen_ai.usage.input_tokens": 380 + words * 9 + self.rng.randrange(60),
            "gen_ai.usage.output_tokens": 22 + len(json.dumps(answered)) // 5,
            "gen_ai.response.finish_reasons": ["tool_call" if answered["parts"][0]["type"] == "tool_call" else "stop"],
        }, kind=3)
        self.now += int(millis * 1e6)
        self.close(span)

    def tool(self, parent, agent, name, call_id, arguments, result, error):
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name, "gen_ai.tool.call.id": call_id,
                      "gen_ai.tool.type": "function", "gen_ai.agent.name": agent, "gen_ai.tool.call.arguments": json.dumps(arguments)}
        if result is not None:
            attributes["gen_ai.tool.call.result"] = json.dumps(result)
        if error:
            attributes["error.type"] = "timeout" if "timeout" in error else "tool_error"
        span = self.open(f"execute_tool {name}", parent, attributes)
        self.now += 8_000_000_000 if error and "timeout" in error else int(self.rng.lognormvariate(4.9, 0.5) * 1e6)
        self.close(span, error)


def trace_of(ticket, version):
    trace, scene = Trace(ticket, version), plan(ticket, version)
    agent, models = AGENT_OF[ticket["intent"]], MODELS[version]
    user = text_message("user", ticket["ask"])
    root = trace.open("invoke_agent support_desk", None, {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support_desk", "gen_ai.agent.version": version,
        "gen_ai.conversation.id": ticket["session"]["id"], "user.id": ticket["session"]["user"], "ticket.id": ticket["id"],
        "ticket.intent": ticket["intent"], "ticket.channel": ticket["channel"], "customer.tier": ticket["session"]["tier"],
        "gen_ai.input.messages": [user], "gen_ai.output.messages": [text_message("assistant", scene["text"])],
    })
    triage = trace.open("invoke_agent triage", root, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "triage"})
    handoff = {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_0", "name": f"transfer_to_{agent}", "arguments": {"ticket": ticket["id"]}}]}
    trace.chat(triage, "triage", models["triage"], [user], handoff, SYSTEM["triage"], 12)
    trace.tool(triage, "triage", f"transfer_to_{agent}", "call_0", {"ticket": ticket["id"]}, {"accepted": True}, None)
    trace.close(triage)
    system = SYSTEM[agent] if isinstance(SYSTEM[agent], str) else SYSTEM[agent][version]
    specialist = trace.open(f"invoke_agent {agent}", root, {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent,
        "gen_ai.prompt.name": f"{agent}-prompt", "gen_ai.prompt.version": "7" if version == "2.0" else "6"})
    asked = [user]
    for index, (name, arguments, result, error) in enumerate(scene["calls"], start=1):
        call = {"role": "assistant", "parts": [{"type": "tool_call", "id": f"call_{index}", "name": name, "arguments": arguments}]}
        trace.chat(specialist, agent, models["work"], asked, call, system, 40 + 25 * index)
        trace.tool(specialist, agent, name, f"call_{index}", arguments, result, error)
        answer = {"error": error} if error else result
        asked = asked + [call, {"role": "tool", "parts": [{"type": "tool_call_response", "id": f"call_{index}", "response": answer}]}]
    trace.chat(specialist, agent, models["work"], asked, text_message("assistant", scene["text"]), system, 120)
    trace.close(specialist)
    trace.close(root)
    return trace.spans


def write_traces():
    rows = tickets()
    for version in VERSIONS:
        resource = {"attributes": [attribute("service.name", "hearth-support"), attribute("service.version", version),
                                   attribute("deployment.environment.name", "production")]}
        lines = []
        for ticket in rows:
            body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "support.agents", "version": version}, "spans": trace_of(ticket, version)}]}]}
            lines.append(json.dumps(body, separators=(",", ":"), ensure_ascii=False))
        path = os.path.join(HERE, f"traces-{version}.jsonl.gz")
        with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
            packed.write(("\n".join(lines) + "\n").encode())
        print(f"{path}: {len(lines)} traces, {sum(line.count('spanId') for line in lines)} ids, {os.path.getsize(path)} bytes")


# ---------------------------------------------------------------------------------------------------- the judge


def known_scenes():
    scenes = []
    for ticket in tickets():
        for version in VERSIONS:
            scenes.append((ticket, version, plan(ticket, version)))
    return scenes


SCENES = None


def find_scene(prompt):
    """The ticket and version a judge prompt is about: the order number, then the reply and the calls it shows."""
    global SCENES
    if SCENES is None:
        SCENES = known_scenes()
    best, best_points = None, 0
    for ticket, version, scene in SCENES:
        if ticket["order"] not in prompt and ticket["item"] not in prompt:
            continue
        points = 3 * sum(sentence in prompt for sentence in re.split(r"(?<=[.?!]) ", scene["text"]))
        points += 5 * (scene["text"] in prompt) + (ticket["ask"] in prompt)
        points += sum(2 if f"RF-" not in json.dumps(call[2]) else 1 for call in scene["calls"] if call[0] in prompt)
        points -= sum(1 for name in ("issue_refund", "track_parcel", "check_refund_policy") if name in prompt and name not in [call[0] for call in scene["calls"]])
        if points > best_points:
            best, best_points = (ticket, version, scene), points
    return best


def verdict(judge, ticket, version, scene):
    """What a careful judge would say, and now and then a slip."""
    rng = random.Random(f"{SEED}/{judge}/{ticket['id']}/{version}")
    slip = rng.random() < 0.015
    order = ticket["order"]
    if judge == "tool_faithfulness":
        good = scene["faithful"] != slip
        called = ", ".join(call[0] for call in scene["calls"])
        reason = f"Every statement in the reply about {order} matches what the tools returned ({called})." if good else f"The reply does not match the tools: {scene['why'] or 'it states more than the results of ' + called + ' support'}."
        return ("pass" if good else "fail"), reason
    if judge == "tone":
        return ("curt" if scene["tone"] == "curt" else "warm"), ("The reply is correct but drops the greeting and reads like a form." if scene["tone"] == "curt" else "The reply greets the customer by name, owns the problem and stays factual.")
    good = scene["done"] != slip
    reason = f"The request about {order if order in ticket['ask'] else 'the ' + ticket['item']} is settled by what the tools show, not only by the agent's word." if good else f"The request is not settled: {scene['why'] or 'the reply leaves open what the customer has to do next'}."
    return ("pass" if good else "fail"), reason


def fill(schema, judge, found):
    """Fills the schema that a judge request carries."""
    answer = {}
    properties = schema.get("properties", {})
    if found is None:
        word, reason, quote = None, "The material could not be matched to a ticket.", []
    else:
        word, reason = verdict(judge, *found)
        quote = [re.split(r"(?<=[.?!]) ", found[2]["text"])[0]]
    for name, part in properties.items():
        kinds = part.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if "enum" in part:
            menu = part["enum"]
            if word in menu:
                answer[name] = word
            elif judge == "tone" and word == "curt":
                answer[name] = menu[min(len(menu) - 1, 2)]
            else:
                answer[name] = menu[0] if word != "fail" else menu[-1]
        elif name == "evidence":
            answer[name] = quote
        elif name == "reasoning":
            answer[name] = reason
        elif "array" in kinds:
            answer[name] = []
        elif "boolean" in kinds:
            answer[name] = False
        elif "number" in kinds or "integer" in kinds:
            low, high = part.get("minimum", 1), part.get("maximum", 5)
            answer[name] = high if word in ("pass", "warm") else max(low, high - 3)
        elif "null" in kinds:
            answer[name] = None if found is not None else reason
        else:
            answer[name] = reason
    return answer


class Oracle(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = "\n".join(message["content"] for message in request["messages"])
        plain = prompt.replace('\\"', '"').replace("\\\\", "\\")
        schema = request.get("response_format", {}).get("json_schema", {})
        judge = schema.get("name", "task_completion")
        judge = next((name for name in ("tool_faithfulness", "tone", "task_completion") if name in judge or name in prompt), judge)
        found = find_scene(plain)
        content = json.dumps(fill(schema.get("schema", {}), judge, found), ensure_ascii=False)
        body = json.dumps({
            "id": "oracle", "object": "chat.completion", "created": 0, "model": request["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, "refusal": None}}],
            "usage": {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(content) // 4, "total_tokens": (len(prompt) + len(content)) // 4},
        }).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["traces", "oracle", "truth"])
    parser.add_argument("--port", type=int, default=18222)
    options = parser.parse_args()
    if options.what == "traces":
        write_traces()
    elif options.what == "truth":
        for version in VERSIONS:
            scenes = [(t, s) for t, v, s in known_scenes() if v == version]
            for intent in COUNTS:
                rows = [s for t, s in scenes if t["intent"] == intent]
                print(version, intent, len(rows), f"done {sum(s['done'] for s in rows) / len(rows):.2f}", f"faithful {sum(s['faithful'] for s in rows) / len(rows):.2f}")
            print(version, "all", f"done {sum(s['done'] for _, s in scenes) / len(scenes):.3f}", f"faithful {sum(s['faithful'] for _, s in scenes) / len(scenes):.3f}")
    else:
        http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Oracle).serve_forever()


if __name__ == "__main__":
    main()
