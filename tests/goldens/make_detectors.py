"""Writes detectors.json: trees of spans and what must be found in them, each worked out by hand from the definitions.

No library gives these: the expected findings are written down beside each tree, with the counts.
"""
import json
import pathlib

ROOT = {"id": "top", "parent": None, "kind": "agent", "agent": "boss", "start": 0, "end": 2000, "status": "ok"}


def span(kind, id, start, end, **more):
    return {"id": id, "parent": "top", "kind": kind, "start": start, "end": end, "status": "ok", **more}


def agent(name, start, end, **more):
    return span("agent", name, start, end, agent=name, **more)


def llm(id, start, **more):
    return span("llm", id, start, more.pop("end", start + 5), **{"output_text": "fine", **more})


def tool(id, name, arguments, start, **more):
    return span("tool", id, start, more.pop("end", start + 5), tool=name, arguments=arguments,
                **{"result": "same", **more})


def handoff(id, start, sender, receiver, **more):
    return span("handoff", id, start, start, **{"from": sender, "to": receiver}, **more)


def fires(detector, subtype, *spans):
    return {"detector": detector, "subtype": subtype, "spans": sorted(spans)}


def counts(tools=0, errors=0, retries=0, loops=0, llms=0, agents=1, depth=2):
    return {"tool_calls": tools, "tool_errors": errors, "retry_count": retries, "loop_count": loops,
            "llm_calls": llms, "agents": agents, "max_depth": depth}


CASES = []


def case(title, spans, expected, metrics, **config):
    CASES.append({"id": f"t{len(CASES) + 1:02}", "title": title, "config": config,
                  "spans": [ROOT, *spans], "expected": expected, "metrics": metrics})


case("nothing but the root", [], [], counts(depth=1))
case("the error message names the deadline", [
    tool("a", "book", {}, 10, status="error", error_message="rpc: Deadline Exceeded"),
    tool("b", "book", {"n": 1}, 30)], [fires("timeout", "explicit", "a")], counts(2, 1))
case("a result that speaks of a timeout is none", [tool("a", "book", {}, 10, result="connection timed out")], [],
     counts(1))
case("slower than allowed", [tool("a", "book", {}, 10, end=111, timeout_ms=100)],
     [fires("timeout", "exceeded", "a")], counts(1))
case("never ended", [llm("a", 10, end=None)], [fires("timeout", "unfinished", "a")], counts(llms=1))
case("not ended yet", [llm("a", 10, end=None)], [], counts(llms=1), trace_closed=False)
case("cut off by model_length", [llm("a", 10, finish_reasons=["stop", "Model_Length"])],
     [fires("truncated_output", "finish_reason", "a")], counts(llms=1))
case("as many tokens as allowed and no reason", [llm("a", 10, output_tokens=32, max_tokens=32)],
     [fires("truncated_output", "token_limit_inferred", "a")], counts(llms=1))
case("one token fewer", [llm("a", 10, output_tokens=31, max_tokens=32)], [], counts(llms=1))
case("the prompt is too long", [
    llm("a", 10, status="error", error_type="BadRequest", error_message="Prompt is too long: 210000 tokens")],
    [fires("context_overflow", "provider_error", "a")], counts(llms=1))
case("exactly 95 in 100 of the window", [llm("a", 10, input_tokens=950, context_limit=1000)],
     [fires("context_overflow", "near_limit", "a")], counts(llms=1))
case("the receiver's second call may be small", [
    handoff("h", 10, "boss", "clerk", payload_tokens=1000), agent("clerk", 11, 900),
    llm("a", 20, parent="clerk", input_tokens=900), llm("b", 40, parent="clerk", input_tokens=100)], [],
    counts(llms=2, agents=2, depth=3))
case("most of a handoff is lost", [
    handoff("h", 10, "boss", "clerk", payload_tokens=1000), agent("clerk", 11, 900),
    llm("a", 20, parent="clerk", input_tokens=499)],
    [fires("context_overflow", "handoff_context_dropped", "h", "a")], counts(llms=1, agents=2, depth=3))
case("a window smaller than what is handed over", [
    handoff("h", 10, "boss", "clerk", payload_tokens=1000), agent("clerk", 11, 900),
    llm("a", 20, parent="clerk", input_tokens=800, context_limit=900)],
    [fires("context_overflow", "handoff_exceeds_window", "h", "a")], counts(llms=1, agents=2, depth=3))
case("back to the top by way of another", [
    agent("clerk", 10, 900), {**agent("again", 20, 800, parent="clerk"), "agent": "boss"}],
    [fires("circular_delegation", "cycle", "top", "again")], counts(agents=2, depth=3))
case("an agent that calls itself through a tool", [
    span("tool", "a", 10, 100, tool="ask", arguments={}, result="same"),
    {**agent("again", 20, 90, parent="a"), "agent": "boss"}],
    [fires("circular_delegation", "self_delegation", "top", "again")], counts(1, depth=3))
case("to and fro twice, the run goes on half a round", [
    agent("north", 1, 1900), agent("south", 1, 1900), llm("n", 1800, parent="north"), llm("s", 1800, parent="south"),
    *[handoff(f"h{n}", 10 * n, *(("north", "south") if n % 2 else ("south", "north"))) for n in range(1, 6)]],
    [fires("circular_delegation", "ping_pong", "h1", "h2", "h3", "h4", "h5")], counts(llms=2, agents=3, depth=3))
case("the same call again is no progress", [
    agent("north", 1, 1900), agent("south", 1, 1900), llm("n", 1800, parent="north"), llm("s", 1800, parent="south"),
    tool("old", "look", {"k": 1}, 2, parent="north"), tool("new", "look", {"k": 1}, 25, parent="north"),
    *[handoff(f"h{n}", 10 * n, *(("north", "south") if n % 2 else ("south", "north"))) for n in range(1, 5)]],
    [fires("circular_delegation", "ping_pong", "h1", "h2", "h3", "h4")],
    counts(2, loops=1, llms=2, agents=3, depth=3))
case("four times, white space aside", [
    tool(f"a{n}", "look", {"k": [1, 2]}, 10 * n, result=["x y", "x  y", " x y\n", "x y"][n]) for n in range(4)],
    [fires("tool_loop", "identical_no_progress", "a0", "a1", "a2", "a3")], counts(4, loops=3))
case("three times with other results", [
    tool(f"a{n}", "look", "{\"k\": 1}" if n else {"k": 1}, 10 * n, result=f"{n}") for n in range(3)],
    [fires("tool_loop", "identical_changing_result", "a0", "a1", "a2")], counts(3, loops=2))
case("a round of three, three times", [
    tool(f"a{n}", "step", {"k": n % 3}, 10 * n, result=f"{n}") for n in range(9)],
    [fires("tool_loop", "identical_changing_result", *[f"a{n}" for n in range(k, 9, 3)]) for k in range(3)]
    + [fires("tool_loop", "period_3", *[f"a{n}" for n in range(9)])], counts(9, loops=6))
case("retries are no loop and storms are told", [
    tool(f"a{n}", "pull", {}, 10 * n, status="error" if n < 4 else "ok", error_type="503") for n in range(5)],
    [fires("retries", "retry_storm", *[f"a{n}" for n in range(5)])], counts(5, 4, 4, 0))
case("two runs of retries of one call", [
    tool(f"a{n}", "pull", {}, 10 * n, status="error" if n in (0, 2) else "ok", error_type="503") for n in range(4)],
    [fires("retries", "recovered", "a0", "a1"), fires("retries", "recovered", "a2", "a3")], counts(4, 2, 2, 1))
case("given up, and the agent says it failed", [
    tool("a0", "pull", {}, 10, status="error", error_type="500"),
    tool("a1", "pull", {}, 20, status="error", error_type="500")],
    [fires("retries", "retry_exhausted", "a0", "a1")], counts(2, 2, 1))
CASES[-1]["spans"] = [{**ROOT, "status": "error"}, *CASES[-1]["spans"][1:]]
case("the last call failed and nobody minds", [
    tool("a", "pull", {}, 10), tool("b", "push", {}, 20, status="error", error_type="409")],
    [fires("unhandled_tool_error", "finished_after_error", "b")], counts(2, 1))
case("asked for and never run", [llm("a", 10, tool_calls=[{"id": "c", "name": "get", "arguments": {}}])],
     [fires("fabricated_tool_output", "call_without_execution", "a")], counts(llms=1))
case("never run, and yet there is a result", [
    llm("a", 10, tool_calls=[{"id": "c", "name": "get", "arguments": {}}]),
    llm("b", 30, tool_results=[{"id": "c", "content": "sunny"}])],
    [fires("fabricated_tool_output", "result_without_execution", "a", "b")], counts(llms=2))
case("a shorter result that does not say so", [
    llm("a", 10, tool_calls=[{"id": "c", "name": "get", "arguments": {}}]),
    tool("r", "get", {}, 20, call_id="c", result="one two three"),
    llm("b", 30, tool_results=[{"id": "c", "content": "one two"}])],
    [fires("fabricated_tool_output", "altered_result", "b", "r")], counts(1, llms=2))
case("a shorter result that says so", [
    llm("a", 10, tool_calls=[{"id": "c", "name": "get", "arguments": {}}]),
    tool("r", "get", {}, 20, call_id="c", result="one  two three"),
    llm("b", 30, tool_results=[{"id": "c", "content": "one two", "truncated": True}])], [], counts(1, llms=2))
case("nobody asked", [llm("a", 10, tool_results=[{"id": "z", "content": "sunny"}])],
     [fires("fabricated_tool_output", "unrequested_result", "a")], counts(llms=1))
case("tools are not recorded", [llm("a", 10, tool_results=[{"id": "z", "content": "sunny"}])], [], counts(llms=1),
     tools_instrumented=False)
case("reading while another writes", [
    tool("a", "load", {"f": 1}, 10, end=50, resources=[{"key": "k", "mode": "r"}]),
    tool("b", "save", {"f": 1}, 49, end=60, resources=[{"key": "k", "mode": "w"}])],
    [fires("resource_race", "read_write", "a", "b")], counts(2))
case("both write, others touch, read or mean another key", [
    tool("a", "save", {"f": 1}, 10, end=50, resources=[{"key": "k", "mode": "w"}]),
    tool("b", "save", {"f": 2}, 20, end=40, resources=[{"key": "k", "mode": "w"}]),
    tool("c", "save", {"f": 3}, 50, end=60, resources=[{"key": "k", "mode": "w"}]),
    tool("d", "save", {"f": 4}, 20, end=40, resources=[{"key": "K", "mode": "w"}])],
    [fires("resource_race", "write_write", "a", "b")], counts(4))
case("a tool inside a tool is no race", [
    tool("a", "save", {"f": 1}, 10, end=50, resources=[{"key": "k", "mode": "w"}]),
    tool("b", "write", {"f": 1}, 20, end=40, parent="a", resources=[{"key": "k", "mode": "w"}])], [],
    counts(2, depth=3))
case("the parent is lost, its child is not", [
    llm("a", 10, parent="lost"), span("other", "b", 12, 13, parent="a")],
    [fires("orphan_span", "missing_parent", "a")], counts(llms=1))
case("two roots", [agent("second", 5, 900, parent=None)], [fires("orphan_span", "multiple_roots", "top", "second")],
     counts(agents=2, depth=1))
case("six milliseconds before its parent", [llm("a", -6, end=3)],
     [fires("orphan_span", "starts_before_parent", "a")], counts(llms=1))
case("five milliseconds before its parent", [llm("a", -5, end=3)], [], counts(llms=1))
case("filtered, and therefore empty", [llm("a", 10, output_text="", finish_reasons=["SAFETY"])],
     [fires("content_filter", "filter", "a")], counts(llms=1))
case("the model stops to refuse", [llm("a", 10, finish_reasons=["refusal"])],
     [fires("content_filter", "refusal", "a")], counts(llms=1))
OFFERED = [{"name": "fly", "schema": {"type": "object", "required": ["to"], "additionalProperties": False, "properties": {
    "to": {"type": "string"}, "class": {"enum": ["first", "second"]},
    "seats": {"type": "array", "items": {"type": "integer"}}}}}]


def asks(arguments, name="fly"):
    return [llm("a", 10, tools=OFFERED, tool_calls=[{"id": "c", "name": name, "arguments": arguments}]),
            tool("r", name, {}, 20, call_id="c")]


case("arguments that fit", asks({"to": "Oslo", "class": "first", "seats": [1, 2]}), [], counts(1, llms=1))
for title, wrong in [("not in the enumeration", {"to": "Oslo", "class": "third"}),
                     ("an item of the wrong type", {"to": "Oslo", "seats": [1, "2"]}),
                     ("a property too many", {"to": "Oslo", "meal": True}),
                     ("inside a text", "{\"to\": 7}")]:
    case(title, asks(wrong), [fires("malformed_tool_args", "schema_violation", "a")], counts(1, llms=1))
case("tools are told apart by their letters' case", asks({"to": "Oslo"}, "Fly"),
     [fires("malformed_tool_args", "unknown_tool", "a")], counts(1, llms=1))
case("a number is no object", asks("7"), [fires("malformed_tool_args", "not_object", "a")], counts(1, llms=1))
case("broken JSON", asks("{\"to\": "), [fires("malformed_tool_args", "invalid_json", "a")], counts(1, llms=1))
case("thoughts and dashes are no answer", [llm("a", 10, output_text="<think>hm,\nwell</think> --")],
     [fires("empty_output", "llm", "a")], counts(llms=1))
case("an answer in another script", [llm("a", 10, output_text="はい")], [], counts(llms=1))
case("the root says nothing", [llm("a", 10)], [fires("empty_output", "root", "top")], counts(llms=1))
CASES[-1]["spans"][0] = {**ROOT, "output_text": " \n"}
case("nobody by that name", [handoff("h", 10, "boss", "nobody")], [fires("handoff_fault", "unknown_agent", "h")],
     counts(), agents=["boss", "clerk"])
case("the receiver was there before and not again", [agent("clerk", 1, 5), handoff("h", 10, "boss", "clerk")],
     [fires("handoff_fault", "no_receiver", "h")], counts(agents=2))
case("paid twice by two agents", [
    agent("clerk", 1, 900), tool("a", "pay", {"sum": 5}, 10, side_effect=True),
    tool("b", "pay", {"sum": 5}, 30, parent="clerk", side_effect=True)],
    [fires("duplicate_side_effect", "same_args", "a", "b")], counts(2, agents=2, depth=3))
case("paid twice, different sums", [
    tool("a", "pay", {"sum": 5}, 10, side_effect=True), tool("b", "pay", {"sum": 6}, 30, side_effect=True)], [],
    counts(2))
case("a history is gone", [llm("a", 10, input_messages=9), llm("b", 30, input_messages=4)],
     [fires("context_reset", "message_drop", "a", "b")], counts(llms=2))
case("half of a history, a short one, and another agent's", [
    llm("a", 10, input_messages=8), llm("b", 30, input_messages=4), llm("c", 50, input_messages=1),
    agent("clerk", 55, 900), llm("d", 60, input_messages=9, parent="clerk"), llm("e", 70, input_messages=1)], [],
    counts(llms=5, agents=2, depth=3))
case("two calls after the end", [
    tool("a", "done", {}, 10, status="error"), tool("b", "done", {"n": 1}, 20), tool("c", "look", {}, 30),
    tool("d", "look", {"k": 1}, 40)],
    [fires("work_after_terminal", "tool_calls_after_final", "b", "c", "d")], counts(4, 1), terminal_tools=["done"])
TWICE = [
    llm("a", 10, tool_calls=[{"id": "c", "name": "get", "arguments": {"k": 1}}]),
    tool("r", "get", {"k": 1}, 20, call_id="c", result="one"),
    llm("b", 30, tool_results=[{"id": "c", "content": "one"}],
        tool_calls=[{"id": "c", "name": "look", "arguments": {"k": 2}}]),
    tool("s", "look", {"k": 2}, 40, call_id="c", result="two")]
case("one id for two calls, each shown as it was", [*TWICE, llm("d", 60, tool_results=[{"id": "c", "content": "two"}])],
     [], counts(2, llms=3))
case("one id for two calls, and a result of neither", [
    *TWICE, llm("d", 60, tool_results=[{"id": "c", "content": "three"}])],
    [fires("fabricated_tool_output", "altered_result", "d", "r")], counts(2, llms=3))

if __name__ == "__main__":
    text = ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in CASES)
    definition = "Detectors on trees of spans; expected is the list of all findings, metrics the counts of the trace."
    head = json.dumps({"method": "detectors", "definition": definition}, ensure_ascii=False)[:-1]
    path = pathlib.Path(__file__).with_name("detectors.json")
    path.write_text(f"{head}, \"cases\": [\n{text}\n]}}\n", encoding="utf-8")
