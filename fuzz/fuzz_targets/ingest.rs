//! Trace formats: any bytes through the whole reader of one source. The name of the program says which one, so that one
//! file serves all rows of the table.
#![no_main]

use std::io::Cursor;
use std::sync::OnceLock;

use assize::ingest::{Assembler, ReadOptions, SOURCES, read_stream};
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

fuzz_target!(|data: &[u8]| {
    let mut assembler = Assembler::new();
    let options = ReadOptions { max_record_bytes: 1 << 20, max_field_bytes: 1 << 12, ..ReadOptions::default() };
    // A file that cannot be used is an error; anything worse is a find.
    let _ = read_stream("-", Box::new(Cursor::new(data.to_vec())), source(), &options, &mut assembler);
    let gathered = assembler.drain();
    for trace in &gathered.traces {
        let _ = (trace.input(), trace.final_output(), trace.usage(), trace.cost_usd(), trace.outline().len());
        let text = serde_json::to_string(trace).expect("a trace can be written");
        serde_json::from_str::<assize::model::Trace>(&text).expect("and read again");
    }
});
