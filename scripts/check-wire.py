#!/usr/bin/env python3
"""Holds the request bodies and replies of tests/goldens/wire against the types of the providers' own SDKs.

Usage: python3 -m venv target/wire && target/wire/bin/pip install openai anthropic google-genai boto3
       target/wire/bin/python scripts/check-wire.py

Request bodies are checked closed: a field that the SDK's type does not know is a fault. Replies are checked to be what the
SDK would read. OpenAI and Azure: the TypedDicts and models of `openai`; Anthropic: those of `anthropic`; Gemini: the
pydantic models of `google-genai`, which refuse unknown fields; Bedrock: botocore's model of the service.
"""
import inspect
import json
import pathlib
import sys
import typing

import anthropic.types
import botocore.session
import botocore.validate
import openai.types
import openai.types.chat
import openai.types.responses
import openai.types.shared_params
import pydantic
from anthropic.types import Message, message_create_params
from google.genai import types as gemini
from openai.types.chat import ChatCompletion, completion_create_params
from openai.types.responses import Response, response_create_params

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "wire"
CLOSED = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def close(package):
    """Makes every TypedDict of a package refuse fields that it does not name."""
    for name, module in list(sys.modules.items()):
        if name.startswith(package):
            for _, found in inspect.getmembers(module, typing.is_typeddict):
                found.__pydantic_config__ = CLOSED


close("openai.types")
close("anthropic.types")


def drain(value):
    """Iterables are only checked as they are read."""
    if isinstance(value, dict):
        for inner in value.values():
            drain(inner)
    elif not isinstance(value, (str, bytes)) and hasattr(value, "__iter__"):
        for inner in value:
            drain(inner)


def typed(kind):
    adapter = pydantic.TypeAdapter(kind)
    return lambda body: drain(adapter.validate_python(body))


def strict_schema(schema, place="schema"):
    """OpenAI's rules for strict schemas: closed objects, every property required."""
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise ValueError(f"{place}: an object that is not closed")
        if sorted(schema.get("required", [])) != sorted(schema.get("properties", {})):
            raise ValueError(f"{place}: a property that is not required")
        for name, inner in schema["properties"].items():
            strict_schema(inner, f"{place}.{name}")
    if schema.get("type") == "array":
        strict_schema(schema["items"], f"{place}[]")


def openai_chat(body):
    typed(completion_create_params.CompletionCreateParamsNonStreaming)(body)
    form = body.get("response_format", {})
    if form.get("type") == "json_schema" and form["json_schema"].get("strict"):
        strict_schema(form["json_schema"]["schema"])


def openai_responses(body):
    typed(response_create_params.ResponseCreateParamsNonStreaming)(body)
    form = body.get("text", {}).get("format", {})
    if form.get("strict"):
        strict_schema(form["schema"])


def gemini_body(body):
    class Body(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        contents: list[gemini.Content]
        systemInstruction: gemini.Content | None = None
        generationConfig: gemini.GenerationConfig | None = None

    Body.model_validate(body)


BEDROCK = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse")


def against(shape, body):
    report = botocore.validate.ParamValidator().validate(body, shape)
    if report.has_errors():
        raise ValueError(report.generate_report())


REQUESTS = {
    "openai": openai_chat,
    "azure": openai_chat,
    "openai_responses": openai_responses,
    "anthropic": typed(message_create_params.MessageCreateParamsNonStreaming),
    "gemini": gemini_body,
    "bedrock": lambda body: against(BEDROCK.input_shape, {"modelId": "m", **body}),
}
REPLIES = {
    "openai": ChatCompletion.model_validate,
    "azure": ChatCompletion.model_validate,
    "openai_responses": Response.model_validate,
    "anthropic": Message.model_validate,
    "gemini": gemini.GenerateContentResponse.model_validate,
    "bedrock": lambda body: against(BEDROCK.output_shape, body),
}


def main():
    faults = checked = 0
    for folder, checks in [(FOLDER, REQUESTS), (FOLDER / "replies", REPLIES)]:
        for path in sorted(folder.glob("*.json")):
            checked += 1
            try:
                checks[path.name.split(".")[0]](json.loads(path.read_text()))
            except Exception as error:  # each library has its own
                faults += 1
                print(f"{path.relative_to(FOLDER)}: {type(error).__name__}: {error}\n")
    print(f"{checked} bodies and replies checked, {faults} at fault")
    return 1 if faults or not checked else 0


sys.exit(main())
