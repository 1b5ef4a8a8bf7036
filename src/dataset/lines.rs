//! One example, one line of JSON: the form of `examples.jsonl` in a dataset version.

use super::error::{DatasetError, Place, RowError};
use super::{native, rows};
use crate::model::Example;

/// The line of an example, without a line break.
///
/// # Errors
/// The example holds something JSON has no form for; nothing read by this program does.
pub fn line_of_example(example: &Example) -> Result<String, DatasetError> {
    serde_json::to_string(example)
        .map_err(|error| DatasetError::Unwritable { id: example.id.clone(), cause: error.to_string() })
}

/// The example of a line. Lines written by hand may leave out anything but the input; see the rules for rows
/// without a mapping.
///
/// # Errors
/// File, line, field, what was found and what was expected.
pub fn example_of_line(line: &[u8], file: &std::path::Path, number: u64) -> Result<Example, RowError> {
    // The exact form first: it is what versions hold, and much the faster.
    if let Ok(example) = serde_json::from_slice::<Example>(line) {
        return Ok(example);
    }
    let place = Place { file, line: number };
    native::example_of(rows::object_of(line, place)?, place)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::dataset::digest_of;
    use crate::model::{ExampleId, Label, Output, Recorded};

    fn read(line: &str) -> Result<Example, RowError> {
        example_of_line(line.as_bytes(), Path::new("examples.jsonl"), 4)
    }

    #[test]
    fn a_hand_written_line_may_be_short() {
        assert_eq!(read(r#"{"input": "q", "expected": 3}"#).unwrap().reference, Some(json!(3)));
    }

    #[test]
    fn a_bad_line_says_where_and_what() {
        let error = read("{\"input\": ").unwrap_err().to_string();
        assert!(error.contains("`examples.jsonl` line 4") && error.contains("expected one JSON object"), "{error}");
        assert!(read("[1]").unwrap_err().to_string().contains("a list of 1"));
        let error = example_of_line(b"{\"input\": \"\xff\"}", Path::new("f"), 1).unwrap_err().to_string();
        assert!(error.contains("not UTF-8 at byte 12"), "{error}");
    }

    proptest! {
        #[test]
        fn writing_and_reading_loses_nothing(
            id in ".{1,12}", text in ".{0,40}", number in any::<f64>().prop_filter("finite", |n| n.is_finite()),
            chosen in 1_u64..500, population in 500_u64..100_000, cost in 0.0..1e6_f64,
        ) {
            let mut example = Example::new(ExampleId::new(id.clone()), json!({"t": text.clone(), "n": number}));
            example.reference = Some(json!([number]));
            example.inclusion_probability = Some(chosen as f64 / population as f64);
            example.cluster = Some(text.clone());
            let annotator = Some(text.clone());
            example.labels.push(Label { name: id, value: json!(number), annotator, ..Label::default() });
            let output = Output { value: json!(text), cost_usd: Some(cost), ..Output::default() };
            example.recorded.push(Recorded { variant: Some("v".into()), trial: 3, output });
            let line = line_of_example(&example).unwrap();
            prop_assert!(!line.contains('\n'));
            let again = read(&line).unwrap();
            prop_assert_eq!(digest_of([&again]), digest_of([&example]));
            prop_assert_eq!(again, example);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = example_of_line(&bytes, Path::new("f"), 1);
        }
    }
}
