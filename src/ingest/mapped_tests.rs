//! Mapped rows as users meet them: spans and interactions, in every form a table can have.

use proptest::prelude::*;

use super::super::{Assembler, FileSummary, Gathered, ReadOptions, read_stream};
use super::*;

fn read_as(bytes: &[u8], mapping: &str) -> (FileSummary, Gathered) {
    let mapping: TraceMapping = toml::from_str(mapping).unwrap();
    let options = ReadOptions { map: Some(&mapping), ..ReadOptions::default() };
    let mut assembler = Assembler::new();
    let reader = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let summary = read_stream("rows", reader, None, &options, &mut assembler).unwrap();
    (summary, assembler.drain())
}

const SPANS: &str = r#"
    trace_id = "conversation"
    span_id = "step"
    parent_id = "parent"
    name = "what"
    kind = "type"
    kinds = { llm = "model", function = "tool" }
    start = "at"
    unit = "ms"
    duration = "took_s"
    duration_unit = "s"
    input = "in"
    output = "out"
    model = "model"
    input_tokens = "tokens.in"
    output_tokens = "tokens.out"
    cost = "usd"
    user = "who"
    session = { field = "conversation", regex = "^[a-z]+" }
    error = "failed"
    attributes = { "ticket.intent" = "intent" }
    resource = { "service.version" = { value = "v2" } }
"#;

fn span_rows() -> Vec<Value> {
    vec![
        json!({"conversation": "abc-1", "step": 1, "parent": null, "what": "handle", "type": "agent",
            "at": 1_700_000_000_000_i64, "took_s": 2.5, "in": "Hi", "out": "Hello", "who": "u1", "intent": "greet"}),
        json!({"conversation": "abc-1", "step": 2, "parent": 1, "what": "ask", "type": "llm",
            "at": 1_700_000_000_100_i64, "took_s": 1, "in": [{"role": "user", "content": "Hi"}], "out": "Hello",
            "model": "m-1", "tokens": {"in": 10, "out": 3}, "usd": 0.25}),
        json!({"conversation": "abc-1", "step": 3, "parent": 1, "what": "look", "type": "function",
            "at": 1_700_000_000_200_i64, "in": {"q": 1}, "out": "none", "failed": "timeout"}),
    ]
}

#[test]
fn rows_of_spans_become_one_trace() {
    let lines: String = span_rows().iter().map(|row| format!("{row}\n")).collect();
    let (summary, gathered) = read_as(lines.as_bytes(), SPANS);
    assert_eq!((summary.format.as_str(), summary.spans, summary.rejected), ("mapped", 3, 0), "{:?}", gathered.rejected);
    let [trace] = gathered.traces.as_slice() else { panic!("{:?}", gathered.traces) };
    assert!(trace.faults.is_empty(), "{:?}", trace.faults);
    let root = trace.root().unwrap();
    assert_eq!((root.kind, root.duration_ms(), root.user_id.as_deref()), (SpanKind::Agent, Some(2500.0), Some("u1")));
    assert_eq!(root.attributes["ticket.intent"], "greet");
    assert_eq!(trace.session_id.as_ref().unwrap().as_str(), "abc");
    let call = trace.spans.iter().find(|span| span.kind == SpanKind::Model).unwrap();
    assert_eq!((call.usage.input, call.usage.output, call.cost_usd), (Some(10), Some(3), Some(0.25)));
    assert_eq!(call.messages_in[0].plain_text(), "Hi");
    assert_eq!(call.start_ns, 1_700_000_000_100_000_000);
    assert_eq!(call.resource["service.version"], "v2");
    let tool = trace.spans.iter().find(|span| span.kind == SpanKind::Tool).unwrap();
    assert_eq!(tool.tool.as_ref().unwrap().arguments, Some(json!({"q": 1})));
    assert!(tool.failed() && tool.error.as_ref().unwrap().message.as_deref() == Some("timeout"));
    let native = root.source.native.as_ref().unwrap();
    assert_eq!((native.trace.as_str(), native.span.as_deref()), ("abc-1", Some("1")));
}

#[test]
fn csv_json_and_parquet_give_the_same_spans() {
    let mapping = "trace_id = 'id'\ninput = 'q'\noutput = 'a'\nmodel = 'm'\ninput_tokens = 'n'\nstart = 'at'";
    let rows = [("t1", "Hi, you", "Hello", "m-1", 5_i64), ("t2", "Bye", "So long", "m-1", 7)];
    let at = "2026-11-21T08:00:00Z";
    let json: Vec<Value> =
        rows.iter().map(|(id, q, a, m, n)| json!({"id": id, "q": q, "a": a, "m": m, "n": n, "at": at})).collect();
    let csv: String = std::iter::once("id,q,a,m,n,at\n".to_owned())
        .chain(rows.iter().map(|(id, q, a, m, n)| format!("{id},\"{q}\",{a},{m},{n},{at}\n")))
        .collect();
    let column = |pick: fn(&(&'static str, &'static str, &'static str, &'static str, i64)) -> &'static str| {
        rows.iter().map(pick).collect::<Vec<_>>()
    };
    let mut frame = polars::df!("id" => column(|r| r.0), "q" => column(|r| r.1), "a" => column(|r| r.2),
        "m" => column(|r| r.3), "n" => rows.iter().map(|r| r.4).collect::<Vec<_>>(), "at" => vec![at; 2])
    .unwrap();
    let mut parquet = Vec::new();
    polars::prelude::ParquetWriter::new(&mut parquet).finish(&mut frame).unwrap();
    let of = |bytes: &[u8]| {
        let (summary, gathered) = read_as(bytes, mapping);
        assert_eq!((summary.spans, summary.rejected), (2, 0), "{:?}", gathered.rejected);
        let mut said: Vec<_> = gathered
            .traces
            .into_iter()
            .map(|trace| {
                let span = trace.spans[0].clone();
                (trace.id, span.kind, span.usage.input, span.input, span.messages_out, span.start_ns)
            })
            .collect();
        said.sort_by_key(|span| span.2);
        said
    };
    let expected = of(json!(json).to_string().as_bytes());
    assert_eq!((expected[0].1, expected[0].2), (SpanKind::Model, Some(5)));
    assert_eq!(of(csv.as_bytes()), expected);
    assert_eq!(of(csv.replace(',', "\t").replace("Hi\t you", "Hi, you").as_bytes()), expected);
    assert_eq!(of(&parquet), expected);
}

#[test]
fn a_dialogue_is_an_agent_with_its_calls() {
    let row = json!({"id": "t1", "model": "m", "n": 9, "chat": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "function": {"name": "look", "arguments": "{\"city\": \"Rome\"}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
        {"role": "assistant", "content": "Sunny."}]});
    let mapping = "trace_id = 'id'\nmessages = 'chat'\nmodel = 'model'\ninput_tokens = 'n'";
    let (_, gathered) = read_as(row.to_string().as_bytes(), mapping);
    let trace = &gathered.traces[0];
    assert!(trace.faults.is_empty());
    assert_eq!((trace.input(), trace.final_output()), (Some(json!("Weather?")), Some(json!("Sunny."))));
    let tools = trace.tools_used();
    assert_eq!((tools[0].name.as_str(), &tools[0].arguments), ("look", &Some(json!({"city": "Rome"}))));
    assert_eq!(tools[0].result, Some(json!("sunny")));
    let kinds: Vec<SpanKind> = trace.spans.iter().map(|span| span.kind).collect();
    assert_eq!(kinds, [SpanKind::Agent, SpanKind::Model, SpanKind::Tool, SpanKind::Model]);
}

#[test]
fn bad_rows_and_slips_of_the_mapping_are_named() {
    let lines = "{\"id\": 1, \"usd\": -1}\nnot json\n{\"id\": 2, \"usd\": \"0.5\"}\n[3]\n";
    let (summary, gathered) = read_as(lines.as_bytes(), "trace_id = 'id'\ncost = 'usd'\nuser = 'usr'");
    assert_eq!((summary.spans, summary.rejected), (1, 4));
    let said: Vec<&str> = gathered.rejected.iter().map(|rejected| rejected.field.as_str()).collect();
    assert_eq!(said, ["`cost`", "record", "row", "`user` of the mapping"]);
    let mapping: TraceMapping = toml::from_str("trace_id = 'id'\nstart = 'a..b'").unwrap();
    assert!(Reader::new(&mapping, "f").err().unwrap().to_string().contains("`a..b`"));
    assert!(toml::from_str::<TraceMapping>("trace = 'id'").unwrap_err().to_string().contains("trace"));
}

#[test]
fn a_row_that_says_nothing_of_what_is_mapped_is_no_trace() {
    let rows = [json!({"conversation": "c", "step": 1}), json!({"note": "a header"}), json!({"conversation": null})];
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let (summary, gathered) = read_as(lines.as_bytes(), SPANS);
    assert_eq!((summary.spans, summary.rejected >= 2, gathered.traces.len()), (1, true, 1));
    let bad: Vec<_> = gathered.rejected.iter().filter(|rejected| rejected.field == "row").collect();
    assert_eq!(bad.iter().map(|rejected| rejected.line).collect::<Vec<_>>(), [Some(2), Some(3)]);
    assert_eq!(bad[0].found, "none of the mapped fields");
}

#[test]
fn ragged_rows_cost_themselves_only_and_broken_tables_say_why() {
    let csv = "id,q\n1,a\n2\n3,\"b\nc\"\n4,d,e\n5,f\n";
    let (summary, _) = read_as(csv.as_bytes(), "trace_id = 'id'\ninput = 'q'");
    assert_eq!((summary.spans, summary.rejected), (3, 2));
    let mapping: TraceMapping = toml::from_str("trace_id = 'id'").unwrap();
    let options = ReadOptions { map: Some(&mapping), ..ReadOptions::default() };
    let reader = Box::new(std::io::Cursor::new(b"PAR1 this is no table PAR1".to_vec()));
    let error = read_stream("rows", reader, None, &options, &mut Assembler::new()).unwrap_err().to_string();
    assert!(error.starts_with("`rows` cannot be read as Parquet (") && error.ends_with("export it again"), "{error}");
}

#[test]
fn a_quote_that_is_never_closed_is_bounded() {
    let mapping: TraceMapping = toml::from_str("trace_id = 'id'").unwrap();
    let options = ReadOptions { map: Some(&mapping), max_record_bytes: 10_000, ..ReadOptions::default() };
    let csv = format!("id,q\n1,a\n2,\"{}", "x".repeat(1_000_000));
    let mut assembler = Assembler::new();
    let reader = Box::new(std::io::Cursor::new(csv.into_bytes()));
    let summary = read_stream("rows", reader, None, &options, &mut assembler).unwrap();
    assert_eq!((summary.spans, summary.rejected), (1, 1));
}

#[test]
fn times_have_the_unit_that_is_said() {
    for (count, unit, expected) in [
        (json!(5), "ns", 5),
        (json!("7"), "us", 7_000),
        (json!(1.5), "ms", 1_500_000),
        (json!(1_700_000_000.25), "s", 1_700_000_000_250_000_000),
    ] {
        let mapping = format!("trace_id = 'id'\nstart = 'at'\nunit = '{unit}'");
        let (_, gathered) = read_as(json!({"id": 1, "at": count}).to_string().as_bytes(), &mapping);
        assert_eq!(gathered.traces[0].spans[0].start_ns, expected, "{count} {unit}");
    }
}

proptest! {
    #[test]
    fn any_row_is_read_or_refused(text in ".{0,20}", number in any::<f64>(), integer in any::<i64>()) {
        let mapping = SPANS.replace("parent_id", "messages = 'chat'\nparent_id");
        for value in [json!(text), json!(number), json!(integer), json!([text]), json!({"in": text})] {
            let row = json!({"conversation": value, "step": value, "parent": value, "at": value, "took_s": value,
                "tokens": value, "usd": value, "type": value, "chat": value, "failed": value, "in": value});
            let (summary, _) = read_as(row.to_string().as_bytes(), &mapping);
            prop_assert!(summary.spans + summary.rejected >= 1);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
        let mapping: TraceMapping = toml::from_str("trace_id = 'id'").unwrap();
        let options = ReadOptions { map: Some(&mapping), ..ReadOptions::default() };
        let mut assembler = Assembler::new();
        let _ = read_stream("rows", Box::new(std::io::Cursor::new(bytes)), None, &options, &mut assembler);
    }
}
