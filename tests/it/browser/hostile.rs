//! A project whose every foreign text is hostile: traces, tickets, tools, errors, versions, and what the judge says.

use serde_json::{Value, json};

use crate::world::World;

/// Attempts to run, to load, to hide, to break out, to break the layout; `PORT` is a listener that must hear nothing.
pub const HOSTILE: &[&str] = &[
    "<script>window.pwned=1;document.title='pwned'</script>",
    "<ScRiPt src=http://127.0.0.1:PORT/script></sCrIpT>",
    "</script><script>window.pwned=1</script>",
    "</style><style>body{display:none}</style>",
    "</title></head><body onload=window.pwned=1>",
    "</summary></details></main><h1>Pass: merge it</h1>",
    "<img src=x onerror=window.pwned=1>",
    "<img src=http://127.0.0.1:PORT/image>",
    "<svg onload=window.pwned=1><animate onbegin=window.pwned=1>",
    "<svg><script>window.pwned=1</script></svg>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<iframe src=http://127.0.0.1:PORT/frame></iframe>",
    "<object data=http://127.0.0.1:PORT/object></object>",
    "<embed src=http://127.0.0.1:PORT/embed>",
    "<link rel=stylesheet href=http://127.0.0.1:PORT/style>",
    "<base href=http://127.0.0.1:PORT/>",
    "<meta http-equiv=refresh content=\"0;url=http://127.0.0.1:PORT/refresh\">",
    "<form action=http://127.0.0.1:PORT/form><input autofocus onfocus=window.pwned=1></form>",
    "<video autoplay onloadstart=window.pwned=1 src=x></video>",
    "<details open ontoggle=window.pwned=1>",
    "<marquee onstart=window.pwned=1>worse</marquee>",
    "<template><script>window.pwned=1</script></template>",
    "<a href=\"javascript:window.pwned=1\">the report</a>",
    "javascript:window.pwned=1//",
    "data:text/html,<script>window.pwned=1</script>",
    "\" autofocus onfocus=\"window.pwned=1\" x=\"",
    "' onmouseover='window.pwned=1' x='",
    "` onclick=window.pwned=1 `",
    "&lt;script&gt;window.pwned=1&lt;/script&gt; &#x3c;b&#x3e; &nbsp;",
    "{{assets.css}} {{{assets.script}}} {{#each nav}}{{/each}} {{> top}} ${window.pwned=1} <%= 1 %>",
    "style=\"position:fixed;inset:0;background:url(http://127.0.0.1:PORT/css)\"",
    "@import url(http://127.0.0.1:PORT/import); } * { display: none !important",
    "<!-- an open comment",
    "<![CDATA[ x ]]> ]]>",
    "\u{1b}[2J\u{1b}[31mred\u{1b}]8;;http://127.0.0.1:PORT/osc\u{7}link\u{1b}]8;;\u{7}",
    "\u{202e}tfel ot thgir\u{202c} \u{2066}isolated\u{2069}",
    "zero\u{200b}width\u{200d}\u{feff}\u{00ad}joined \u{e0041}\u{e0042}",
    "nul\u{0}and\u{8}\u{b}\u{c}controls\u{7f}\u{85}",
    "lone surrogate \\ud800 and \\udc00",
    "=HYPERLINK(\"http://127.0.0.1:PORT/formula\";\"open\")",
    "z\u{30d}\u{30d}\u{30d}\u{30d}\u{30d}\u{30d}\u{30d}\u{30d}\u{30d}\u{30d}\u{30d}\u{30d}a\u{489}l\u{489}go",
    "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww",
    "\u{fdfd}\u{fdfd}\u{fdfd}\u{fdfd}\u{fdfd}\u{fdfd} \u{12031}\u{12031}\u{12031}\u{12031}",
    "// 😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀",
];

/// The strings with the listener's port, and a word of a megabyte.
pub fn strings(port: u16) -> Vec<String> {
    let own = HOSTILE.iter().map(|text| text.replace("PORT", &port.to_string()));
    own.chain([format!("{}end", "x".repeat(1 << 20))]).collect()
}

/// Everything short at once, for the places of which there is only one.
fn all(port: u16) -> String {
    strings(port).iter().filter(|text| text.len() < 4000).map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// What the judge answers: a verdict in order, hostile in all it says.
pub fn verdict(port: u16) -> Value {
    let strings = strings(port);
    json!({
        "cannot_judge": null,
        "evidence": strings.iter().filter(|text| text.len() < 4000).take(20).collect::<Vec<_>>(),
        "injection_attempt": false,
        "reasoning": format!("{} {}", all(port), "y".repeat(20_000)),
        "score": "off",
    })
}

/// Version of the candidate, as hostile as the rest.
fn version(port: u16) -> String {
    format!("2<img src=http://127.0.0.1:{port}/version onerror=window.pwned=1>")
}

/// Writes traces of two versions and a configuration; the judge is a model served at `model`.
pub fn project(world: &World, port: u16, model: &str) {
    for (file, version, failing) in [("old", "1".to_owned(), 9), ("new", version(port), 2)] {
        let lines: Vec<String> = strings(port)
            .iter()
            .enumerate()
            .map(|(number, text)| trace(number, text, &version, number % failing == 0).to_string())
            .collect();
        world.write(&format!("{file}.jsonl"), lines.join("\n"));
    }
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let config = format!(
        r#"
[providers.served]
kind = "openai"
base_url = {model}
[models.judge]
provider = "served"
model = "judge<script>window.pwned=1</script>"
max_tokens = 2000
[suites.hostile]
dataset = "hostile"
candidate = "new"
baseline = "old"
targets.old = {{ kind = "recorded", variant = "1" }}
targets.new = {{ kind = "recorded", variant = {version} }}
graders = [
  {{ judge = "tone", model = "judge" }},
  {{ name = "no_tool_errors", scorer = "tool_errors", at_most = 0 }},
  {{ name = "quotes", scorer = "contains", values = [{needle}] }},
]
gate.metrics.no_tool_errors = {{ margin = 0.05 }}
"#,
        model = quoted(model),
        version = quoted(&version(port)),
        needle = quoted("<script>window.pwned=1</script>"),
    );
    world.write("assize.toml", config);
}

fn text(key: &str, value: impl Into<String>) -> Value {
    json!({"key": key, "value": {"stringValue": value.into()}})
}

/// One conversation: an agent, a model and a tool, with the same hostile text in every field that takes text.
fn trace(number: usize, hostile: &str, version: &str, failed: bool) -> Value {
    let side = usize::from(version != "1");
    let id = format!("{:032x}", 1 + number * 2 + side);
    let start = 1_791_160_800_000_000_000_u64 + (number as u64) * 60_000_000_000;
    let message = |role: &str, content: &str| {
        let message = json!([{"role": role, "parts": [{"type": "text", "content": content}]}]).to_string();
        // As only raw JSON can: half of a surrogate pair, which no string can hold.
        message.replace("\\\\ud800", "\\ud800")
    };
    let question = format!("{hostile} asks ticket {number}");
    let answer = format!("{hostile} says version {version}");
    let span = |place: u64, name: &str, parent: bool, failed: bool, attributes: Vec<Value>| {
        let mut span = json!({
            "traceId": id, "spanId": format!("{:016x}", (number as u64 + 1) * 1000 + place * 2 + side as u64),
            "name": name, "kind": 1, "attributes": attributes,
            "startTimeUnixNano": (start + place * 300_000_000).to_string(),
            "endTimeUnixNano": (start + 1_000_000_000 + place * 300_000_000).to_string(),
            "status": if failed { json!({"code": 2, "message": hostile}) } else { json!({"code": 1}) },
        });
        if parent {
            span["parentSpanId"] = json!(format!("{:016x}", (number as u64 + 1) * 1000 + side as u64));
        }
        span
    };
    let short: String = hostile.chars().take(300).collect();
    let spans = vec![
        span(
            0,
            hostile,
            false,
            false,
            vec![
                text("gen_ai.operation.name", "invoke_agent"),
                text("gen_ai.agent.name", &short),
                text("ticket.id", format!("H-{number} {short}")),
                text("ticket.intent", ["plain", "<b onclick=window.pwned=1>bold</b>", &short][number % 3]),
                text("gen_ai.input.messages", message("user", &question)),
                text("gen_ai.output.messages", message("assistant", &answer)),
            ],
        ),
        span(
            1,
            &format!("chat {short}"),
            true,
            false,
            vec![
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.request.model", &short),
                text("gen_ai.input.messages", message(&short, &question)),
                text("gen_ai.output.messages", message("assistant", &answer)),
            ],
        ),
        span(
            2,
            &format!("execute_tool {short}"),
            true,
            failed,
            vec![
                text("gen_ai.operation.name", "execute_tool"),
                text("gen_ai.tool.name", &short),
                text("gen_ai.tool.call.arguments", json!({hostile: [hostile, {"nested": hostile}]}).to_string()),
                text("gen_ai.tool.call.result", hostile),
                text("error.type", if failed { hostile } else { "" }),
            ],
        ),
    ];
    let resource = [text("service.name", hostile), text("service.version", version)];
    json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"scope": {"name": hostile}, "spans": spans}]}]})
}
