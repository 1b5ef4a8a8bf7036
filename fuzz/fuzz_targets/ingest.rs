//! Trace formats: any bytes through the whole reader of one source. The name of the program says which one, so that one
//! file serves all rows of the table.
#![no_main]

use std::io::Cursor;
use std::sync::OnceLock;

use assize::ingest::{Assembler, ReadOptions, SOURCES, TraceMapping, read_stream};
use libfuzzer_sys::fuzz_target;

fn source() -> Option<&'static str> {
    static SOURCE: OnceLock<Option<&'static str>> = OnceLock::new();
    *SOURCE.get_or_init(|| {
        let program = std::env::args().next().unwrap_or_default();
        let wanted = program.rsplit('/').next()?.strip_prefix("ingest_")?.to_owned();
        let found = SOURCES.iter().map(|source| source.name).find(|name| *name == wanted);
        assert!(found.is_some() || wanted == "any", "no source `{wanted}`");
        found
    })
}

/// What `mapped` needs: most of its fields, by names that a mutator finds.
fn mapping() -> Option<&'static TraceMapping> {
    static MAPPING: OnceLock<TraceMapping> = OnceLock::new();
    let text = r#"trace_id = "t"
span_id = "s"
parent_id = "p"
name = "n"
start = "b"
end = "e"
input = "i"
output = "o"
model = "m"
input_tokens = "x"
output_tokens = "y"
cost = "c"
session = "v"
user = "u"
"#;
    let wanted = source() == Some("mapped");
    wanted.then(|| MAPPING.get_or_init(|| toml::from_str(text).expect("a mapping")))
}

fuzz_target!(|data: &[u8]| {
    let mut assembler = Assembler::new();
    let options =
        ReadOptions { max_record_bytes: 1 << 20, max_field_bytes: 1 << 12, map: mapping(), ..ReadOptions::default() };
    // A file that cannot be used is an error; anything worse is a find.
    let _ = read_stream("-", Box::new(Cursor::new(data.to_vec())), source(), &options, &mut assembler);
    let gathered = assembler.drain();
    for trace in &gathered.traces {
        let _ = (trace.input(), trace.final_output(), trace.usage(), trace.cost_usd(), trace.outline().len());
        let text = serde_json::to_string(trace).expect("a trace can be written");
        serde_json::from_str::<assize::model::Trace>(&text).expect("and read again");
    }
});
