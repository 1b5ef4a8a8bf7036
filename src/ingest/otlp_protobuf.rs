//! OpenTelemetry spans and logs in protobuf: a `TracesData` or `LogsData` message (or the export request of the same
//! shape), or a sequence of them, each after its length (four bytes big-endian as the Collector's file exporter writes
//! it, or a varint), compressed with zstd one by one or not.
//!
//! A bare message is read one `ResourceSpans` at a time, so a file of any size fits. Both signals share their outer
//! fields; what decodes as neither is turned away. Metrics are not read in this encoding. What a span and a record
//! become is in `otlp_proto_rows`.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use serde_json::Value;

use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::open::{Head, Opened};
use super::otlp_proto_rows::{attributes, log_record, raw_span};
use super::{SourceInfo, log_records, otlp_json};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "otlp_protobuf",
    summary: "OpenTelemetry spans and logs in protobuf: one message, or a length-prefixed sequence",
    recognise,
    read,
    row: None,
};

/// Tag of field 1, length-delimited: `resource_spans` or `resource_logs` of every message that is read here.
const RESOURCE_SPANS: u8 = 0x0a;
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How messages follow each other in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    /// One message.
    Bare,
    /// Four bytes of length before each.
    BigEndian,
    /// A varint of length before each.
    Varint,
}

fn recognise(head: &Head<'_>) -> Option<String> {
    framing(head.bytes).map(|framing| match framing {
        Framing::Bare => "begins as a protobuf message of spans or logs".to_owned(),
        Framing::BigEndian => "begins with a four-byte length and a message".to_owned(),
        Framing::Varint => "begins with a varint length and a protobuf message".to_owned(),
    })
}

fn framing(head: &[u8]) -> Option<Framing> {
    if resource_spans_begin(head) {
        return Some(Framing::Bare);
    }
    if let [a, b, c, d, rest @ ..] = head {
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        let json = rest.first() == Some(&b'{') && *a == 0;
        if length > 0 && (json || rest.starts_with(&ZSTD) || resource_spans_begin(rest)) {
            return Some(Framing::BigEndian);
        }
    }
    let mut rest = head;
    let length = varint(&mut rest).ok().flatten()?;
    (length > 0 && (rest.starts_with(&ZSTD) || resource_spans_begin(rest))).then_some(Framing::Varint)
}

/// Whether bytes begin with field 1 that holds field 1, 2 or 3 (resource, scope spans, schema) and no text.
fn resource_spans_begin(bytes: &[u8]) -> bool {
    let Some((&RESOURCE_SPANS, mut rest)) = bytes.split_first() else { return false };
    match varint(&mut rest) {
        Ok(Some(0)) => true,
        Ok(Some(length)) => {
            let within = rest.len() as u64 >= length || bytes.len() > 4096;
            // Whatever a text file with a line break in front holds at this place, it is not these control bytes.
            within && matches!(rest.first(), Some(0x0a | 0x12 | 0x1a)) && {
                let inner = rest.get(1..).unwrap_or_default();
                matches!(varint(&mut &*inner), Ok(Some(inner)) if inner < length)
            }
        }
        _ => false,
    }
}

fn read(mut opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let framing = framing(opened.head().bytes).unwrap_or(Framing::Bare);
    let mut buffer = Vec::new();
    loop {
        let next = match framing {
            Framing::Bare => next_field(&mut opened, &mut buffer, gate.options.max_record_bytes),
            Framing::BigEndian | Framing::Varint => {
                next_frame(&mut opened, framing, &mut buffer, gate.options.max_record_bytes)
            }
        };
        match next {
            Ok(Next::End) => return Ok(()),
            Ok(Next::Skipped) => {}
            Ok(Next::Message) if framing == Framing::Bare => resource(&buffer, gate)?,
            Ok(Next::Message) => frame(&buffer, gate)?,
            Err(problem) => return gate.reject(problem, None, &[]),
        }
    }
}

enum Next {
    Message,
    Skipped,
    End,
}

/// Reads one field of the outer message into `buffer`.
fn next_field(reader: &mut impl BufRead, buffer: &mut Vec<u8>, limit: usize) -> Result<Next, Problem> {
    let Some(tag) = varint(reader).map_err(|error| cut(&error))? else { return Ok(Next::End) };
    let broken = || Problem::new("message", "broken off", "a complete protobuf message");
    match tag & 7 {
        0 => varint(reader).map_err(|error| cut(&error))?.map(|_| Next::Skipped).ok_or_else(broken),
        1 => skip(reader, 8).map(|()| Next::Skipped),
        5 => skip(reader, 4).map(|()| Next::Skipped),
        2 => {
            let length = varint(reader).map_err(|error| cut(&error))?.ok_or_else(broken)?;
            if tag != u64::from(RESOURCE_SPANS) {
                return skip(reader, length).map(|()| Next::Skipped);
            }
            fill(reader, buffer, length, limit)
        }
        _ => Err(Problem::new(
            "message",
            format!("wire type {}", tag & 7),
            "protobuf spans or logs (`TracesData`, `LogsData`)",
        )),
    }
}

fn next_frame(
    reader: &mut impl BufRead,
    framing: Framing,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<Next, Problem> {
    let length = if framing == Framing::Varint {
        varint(reader).map_err(|error| cut(&error))?
    } else if reader.fill_buf().map_err(|error| cut(&error))?.is_empty() {
        None
    } else {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(|error| cut(&error))?;
        Some(u64::from(u32::from_be_bytes(bytes)))
    };
    match length {
        None => Ok(Next::End),
        Some(length) => fill(reader, buffer, length, limit),
    }
}

fn fill(reader: &mut impl BufRead, buffer: &mut Vec<u8>, length: u64, limit: usize) -> Result<Next, Problem> {
    if length > limit as u64 {
        let expected = format!("at most {limit} bytes; raise `max_record_bytes`");
        return Err(Problem::new("message", format!("{length} bytes long by its own word"), expected));
    }
    buffer.clear();
    // `take` and not a buffer of the stated length: a lie about the length then costs no memory.
    let read = reader.take(length).read_to_end(buffer).map_err(|error| cut(&error))?;
    if (read as u64) < length {
        let found = format!("cut off after {read} of {length} bytes");
        return Err(Problem::new("message", found, "a complete file; messages before this place were read"));
    }
    Ok(Next::Message)
}

fn skip(reader: &mut impl BufRead, length: u64) -> Result<(), Problem> {
    match io::copy(&mut reader.take(length), &mut io::sink()) {
        Ok(read) if read == length => Ok(()),
        Ok(_) => Err(Problem::new("message", "cut off", "a complete file; messages before this place were read")),
        Err(error) => Err(cut(&error)),
    }
}

fn cut(error: &io::Error) -> Problem {
    let expected = "a complete file; messages before this place were read";
    Problem::new("stream", format!("cut off ({error})"), expected)
}

fn undecodable(error: &prost::DecodeError) -> Problem {
    Problem::new(
        "message",
        format!("not decodable ({error})"),
        "OTLP spans or logs (`TracesData`, `LogsData`) in protobuf",
    )
}

/// A varint; `None` at the end of the stream.
fn varint(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut number: u64 = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        match reader.read(&mut byte) {
            Ok(0) if shift == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(Some(number));
        }
    }
    Err(io::Error::other("a varint of more than ten bytes"))
}

/// Reads one framed message: protobuf or JSON, compressed or not.
fn frame(bytes: &[u8], gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let limit = gate.options.max_record_bytes as u64;
    let mut plain = Vec::new();
    let bytes = if bytes.starts_with(&ZSTD) {
        let read = zstd::stream::read::Decoder::new(bytes)
            .and_then(|decoder| decoder.take(limit.saturating_add(1)).read_to_end(&mut plain));
        match read {
            Err(error) => return gate.reject(cut(&error), None, &[]),
            Ok(length) if length as u64 > limit => {
                let expected = format!("at most {limit} bytes; raise `max_record_bytes`");
                return gate.reject(Problem::new("message", "longer when decompressed", expected), None, &[]);
            }
            Ok(_) => plain.as_slice(),
        }
    } else {
        bytes
    };
    if bytes.trim_ascii_start().starts_with(b"{") {
        return otlp_json::record(bytes, None, gate);
    }
    let (mut rest, mut buffer) = (bytes, Vec::new());
    loop {
        match next_field(&mut rest, &mut buffer, gate.options.max_record_bytes) {
            Ok(Next::End) => return Ok(()),
            Ok(Next::Skipped) => {}
            Ok(Next::Message) => resource(&buffer, gate)?,
            Err(problem) => return gate.reject(problem, None, &[]),
        }
    }
}

/// Reads one `ResourceSpans` or `ResourceLogs`: their bytes do not say which, so spans are tried first. A log record
/// read as a span has other types in its fields, or no ids.
fn resource(bytes: &[u8], gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let spans = ResourceSpans::decode(bytes);
    let named = |spans: &ResourceSpans| {
        spans.scope_spans.iter().flat_map(|scope| &scope.spans).any(|span| !span.trace_id.is_empty())
    };
    match spans {
        Ok(message) if named(&message) => resource_spans(message, gate),
        spans => match (ResourceLogs::decode(bytes), spans) {
            (Ok(message), _) if !message.scope_logs.is_empty() => resource_logs(message, gate),
            (_, Ok(message)) => resource_spans(message, gate),
            (_, Err(error)) => gate.reject(undecodable(&error), None, &[]),
        },
    }
}

pub(super) fn resource_logs(message: ResourceLogs, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    for record in message.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
        match log_record(record) {
            Ok(Some(said)) => said.admit(None, gate)?,
            Ok(None) => gate.ignore(log_records::OTHER, 1),
            Err(problem) => gate.reject(problem, None, &[])?,
        }
    }
    Ok(())
}

pub(super) fn resource_spans(message: ResourceSpans, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let resource = Arc::new(attributes(message.resource.map(|resource| resource.attributes).unwrap_or_default()));
    for scope_spans in message.scope_spans {
        let (scope, version) = scope_spans.scope.map(|scope| (scope.name, scope.version)).unwrap_or_default();
        for span in scope_spans.spans {
            let name = span.name.clone();
            match raw_span(span, &resource) {
                Ok(mut raw) => {
                    raw.keep("otel.scope.name", Value::from(scope.clone()));
                    raw.keep("otel.scope.version", Value::from(version.clone()));
                    gate.admit(raw, None)?;
                }
                Err(problem) => gate.reject(problem, None, name.as_bytes())?,
            }
        }
    }
    Ok(())
}
