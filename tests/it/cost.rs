//! Costs through the binary: figures by hand, unknown kept apart, and what real exports state beside what we compute.

use std::collections::BTreeMap;
use std::fs;

use assize::config::PriceTable;
use assize::model::Usage;
use serde_json::{Value, json};

use crate::world::{World, fixtures};

fn call(number: u32, model: &str, input: u64, output: u64, more: &[(&str, &str)]) -> Value {
    let mut attributes = vec![
        json!({"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}),
        json!({"key": "gen_ai.request.model", "value": {"stringValue": model}}),
        json!({"key": "gen_ai.usage.input_tokens", "value": {"intValue": input.to_string()}}),
        json!({"key": "gen_ai.usage.output_tokens", "value": {"intValue": output.to_string()}}),
    ];
    attributes.extend(more.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})));
    json!({"traceId": format!("{number:032x}"), "spanId": format!("{number:016x}"), "name": "chat",
        "startTimeUnixNano": "1763000000000000000", "endTimeUnixNano": "1763000000900000000", "attributes": attributes})
}

fn world(spans: &[Value]) -> World {
    let world = World::new();
    let export = json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": spans}]}]});
    world.write("in.json", export.to_string());
    world
}

#[test]
fn sums_are_by_hand_and_what_is_unknown_is_named() {
    let world = world(&[
        call(1, "gpt-4o-mini-2024-07-18", 1_000_000, 100_000, &[("tier", "gold")]),
        call(2, "gpt-5", 1_000_000, 0, &[("tier", "gold"), ("gen_ai.openai.response.service_tier", "batch")]),
        call(3, "in-house", 10, 10, &[("tier", "=free")]),
    ]);
    let ingested = world.run(&["ingest", "in.json", "--json"]).expect(0).json();
    assert_eq!(ingested["unpriced_models"], json!({"in-house": 1}));
    let report = world.run(&["traces", "cost", "--by", "tier", "--json"]).expect(0).json();
    // 0.15 + 0.06, and half of 1.25.
    let gold = &report["rows"][0];
    assert_eq!((gold["name"].as_str(), gold["traces"].as_u64()), (Some("gold"), Some(2)));
    assert!((gold["cost_usd"].as_f64().unwrap() - 0.835).abs() < 1e-9, "{report}");
    assert!((gold["cost_per_trace_usd"].as_f64().unwrap() - 0.4175).abs() < 1e-9, "{report}");
    assert_eq!((&report["rows"][1]["cost_usd"], &report["total"]["cost_usd"]), (&Value::Null, &Value::Null));
    let text = world.run(&["traces", "cost"]).expect(0).stdout;
    assert!(text.contains("at least $0.8350") && text.contains("unknown") && text.contains("in-house (1)"), "{text}");
    let csv = world.run(&["traces", "cost", "--by", "tier", "--csv"]).expect(0).stdout;
    assert!(csv.contains("\n'=free,1,1,"), "{csv}");
    // A price that is added later counts without reading the traces again.
    world.write("assize.toml", "[prices.\"in-*\"]\ninput = 1e6\noutput = 0.0\n");
    let report = world.run(&["traces", "cost", "--json"]).expect(0).json();
    assert!((report["total"]["cost_usd"].as_f64().unwrap() - 10.835).abs() < 1e-9, "{report}");
    let none = world.run(&["traces", "cost", "--since", "2026-01-01"]).expect(0).stdout;
    assert!(none.contains("No call in the traces that fit."), "{none}");
}

#[test]
fn what_is_lacking_is_told_and_rows_beyond_the_limit_are_one() {
    let mut silent = call(4, "gpt-4o-mini", 0, 0, &[("tier", "free")]);
    silent["attributes"].as_array_mut().unwrap().retain(|pair| !pair["key"].as_str().unwrap().contains("usage"));
    let world = world(&[
        call(1, "gpt-4o-mini", 1_000_000, 0, &[("tier", "gold")]),
        call(2, "gpt-4o-mini", 2_000_000, 0, &[("tier", "silver")]),
        call(3, "gpt-4o-mini", 1_000_001, 0, &[("tier", "bronze")]),
        silent,
    ]);
    let ingested = world.run(&["ingest", "in.json"]).expect(0).stdout;
    assert!(!ingested.contains("without a known price"), "{ingested}");
    let text = world.run(&["traces", "cost", "--by", "tier", "--limit", "1"]).expect(0).stdout;
    let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    assert!(row("silver").contains("50.0 %"), "{text}");
    assert!(row("3 others").contains("at least $0.3000") && row("3 others").contains("50.0 %"), "{text}");
    assert!(text.contains("Without tokens: gpt-4o-mini (1). Their tracer has to record them"), "{text}");
    assert!(!text.contains("Without a known price"), "{text}");
    assert!(text.contains("Computed costs: shipped list prices as known on 20"), "{text}");
    let all = world.run(&["traces", "cost", "--by", "tier"]).expect(0).stdout;
    let free = all.lines().find(|line| line.starts_with("free")).unwrap();
    assert!(!free.contains('%') && free.contains("unknown"), "{all}");
    // A dimension that was computed is not shown to its last bit.
    let costs = world.run(&["traces", "cost", "--by", "cost"]).expect(0).stdout;
    let names: Vec<&str> = costs.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.iter().take(4).all(|name| name.len() <= 8), "{costs}");
    let report = world.run(&["traces", "cost", "--json"]).expect(0).json();
    assert_eq!(report["without_tokens"], json!({"gpt-4o-mini": 1}));
    world.write("assize.toml", "[prices.\"gpt-4o-mini\"]\ninput = 1.0\noutput = 1.0\n");
    let own = world.run(&["traces", "cost"]).expect(0).stdout;
    assert!(own.contains("; 1 price of your own first."), "{own}");
}

#[test]
fn wrong_prices_are_told_with_their_lines() {
    let world = world(&[]);
    world.write(
        "assize.toml",
        "[prices.m]\ninput = 1.0\noutput = 1.0\ntiers = { batch = -1.0 }\nearlier = [{ until = \"soon\", input = 1.0, output = 1.0 }]\n\
         [tool_prices]\nsearch = -2.0\n",
    );
    let ran = world.run(&["traces", "cost"]).expect(2);
    for expected in ["toml:4: `prices.m.tiers.batch`", "`prices.m.earlier[0].until`", "toml:7: `tool_prices.search`"] {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

/// What exports state against what the table says of the same calls. Two of them state something else: one project
/// had set a price of its own, and one export holds a sum that its own tokens do not give at any list price.
#[test]
fn stated_costs_agree_with_the_table() {
    let Some(folder) = fixtures("costs that exports state") else { return };
    let prices = PriceTable::shipped().unwrap();
    let (mut agree, mut differ) = (0, BTreeMap::new());
    for name in ["langfuse/exports", "any_agent"] {
        for entry in fs::read_dir(folder.join("traces").join(name)).unwrap() {
            let path = entry.unwrap().path();
            let document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let mut calls = Vec::new();
            stated_calls(&document, &mut calls);
            for (model, usage, stated) in calls {
                match prices.cost(&model, &usage) {
                    Some(computed) if (computed - stated).abs() <= 0.001 * stated => agree += 1,
                    computed => {
                        let file = path.file_stem().unwrap().to_string_lossy().split("-20").next().unwrap().to_owned();
                        println!("{file}: {model}: stated {stated}, computed {computed:?}");
                        *differ.entry(file).or_insert(0) += 1;
                    }
                }
            }
        }
    }
    println!("{agree} stated costs are those of the table");
    assert!(agree >= 30, "{agree} agree");
    assert_eq!(differ.keys().map(String::as_str).collect::<Vec<_>>(), ["autogen", "langgraph-python"]);
}

/// Calls that state model, tokens and cost, wherever they stand in a document.
fn stated_calls(value: &Value, calls: &mut Vec<(String, Usage, f64)>) {
    let tokens =
        |input: &Value, output: &Value| Usage { input: input.as_u64(), output: output.as_u64(), ..Usage::default() };
    match value {
        Value::Object(map) => {
            let langfuse = value["costDetails"]["total"].as_f64().zip(value["model"].as_str());
            if let Some((stated, model)) = langfuse.filter(|(stated, _)| *stated > 0.0) {
                calls.push((
                    model.to_owned(),
                    tokens(&value["usageDetails"]["input"], &value["usageDetails"]["output"]),
                    stated,
                ));
            }
            let half = |name: &str| value[name].as_f64();
            if let (Some(input), Some(output)) = (half("gen_ai.usage.input_cost"), half("gen_ai.usage.output_cost"))
                && let Some(model) = value["gen_ai.request.model"].as_str()
            {
                let usage = tokens(&value["gen_ai.usage.input_tokens"], &value["gen_ai.usage.output_tokens"]);
                calls.push((model.to_owned(), usage, input + output));
            }
            map.values().for_each(|inner| stated_calls(inner, calls));
        }
        Value::Array(items) => items.iter().for_each(|item| stated_calls(item, calls)),
        _ => {}
    }
}
