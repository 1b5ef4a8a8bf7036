//! Dataset formats and tables of rows: any bytes through the whole importer. The name of the program says which format;
//! `rows` takes the form of the file from the first byte, `labels` reads sheets of labels, `bundle` reads runs in files.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use assize::dataset::{ImportOptions, Importer, formats, labels, line_of_example};
use assize::model::Digest;
use assize::store::Bundle;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// The format of this program and a folder in memory for its file.
fn setting() -> &'static (String, TempDir) {
    static SETTING: OnceLock<(String, TempDir)> = OnceLock::new();
    SETTING.get_or_init(|| {
        let program = std::env::args().next().unwrap_or_default();
        let name = program.rsplit('/').next().and_then(|name| name.strip_prefix("dataset_")).unwrap_or("rows");
        let shared = PathBuf::from("/dev/shm");
        let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        (name.to_owned(), folder.expect("a folder for the file"))
    })
}

/// A bundle as it is, or one whose first line fits whatever content it has: else nothing would pass its digest.
fn bundle(form: u8, body: &[u8]) {
    let mut file = body.to_vec();
    if form % 2 == 1 {
        let packed = zstd::encode_all(body, 1).expect("bytes can be packed");
        file = format!("assize-bundle 1 {} {}\n", Digest::of(&packed), body.len()).into_bytes();
        file.extend_from_slice(&packed);
    }
    let _ = Bundle::peek(&file);
    if let Ok(read) = Bundle::read(&file) {
        let written = read.write().expect("what was read can be written");
        assert_eq!(Bundle::read(&written).ok(), Some(read), "what is written is what was read");
    }
}

fuzz_target!(|data: &[u8]| {
    let (format, folder) = setting();
    let Some((form, body)) = data.split_first() else { return };
    if format == "bundle" {
        return bundle(*form, body);
    }
    let ending = ["jsonl", "json", "csv", "parquet", "yaml", "eval"][usize::from(*form) % 6];
    let path = folder.path().join(format!("file.{ending}"));
    std::fs::write(&path, body).expect("the file can be written");
    if format == "labels" {
        let _ = labels::read_sheet(&path, |row| drop(row));
        return;
    }
    let mut importer = Importer::new();
    let options = ImportOptions::default();
    // A file that cannot be used is an error; anything worse is a find.
    let added = match format.as_str() {
        "rows" => importer.add_rows(&path, None, options).map(drop),
        "any" => importer.add_file(&path, None, options).map(drop),
        name => {
            let format = formats::find(name).expect("the name of a format").expect("a format of a tool");
            importer.add_format(&path, format, String::new(), options.limits).map(drop)
        }
    };
    if added.is_ok()
        && let Ok(import) = importer.finish()
    {
        import.examples.iter().for_each(|example| drop(line_of_example(example)));
    }
});
