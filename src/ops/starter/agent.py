#!/usr/bin/env python3
"""A stand-in for your agent: reads one example as JSON on stdin, writes one answer as JSON on stdout."""

import json
import sys

ANSWERS = {
    "return": "You can return anything within 30 days, as our return policy says. The label is in the parcel.",
    "deliver": "Delivery takes two to four working days. You get a tracking link by mail.",
    "invoice": "Your invoice is in your account under Orders. Our terms of payment are printed on it.",
    "warranty": "Every product has a warranty of two years. See our warranty policy for what it covers.",
}

example = json.load(sys.stdin)
question = example["input"].lower()
reply = next((text for word, text in ANSWERS.items() if word in question), "Let me pass this on to a colleague.")
json.dump({"output": reply}, sys.stdout)
