//! The body of a request over HTTP: gathered and unpacked, and never more of it in memory than there is room for.

use std::io::Read;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures::StreamExt;

use super::budget::{Share, UsedUp};
use super::http::Denied;

/// Bytes unpacked before the budget is asked again.
const STEP: u64 = 1 << 20;

impl From<UsedUp> for Denied {
    fn from(_: UsedUp) -> Self {
        Self::Later("too much is being received at once".to_owned())
    }
}

/// Takes in a body as it comes; room is taken for what came, not for what was announced.
pub(super) async fn gather(headers: &HeaderMap, body: Body, limit: usize, share: &mut Share) -> Result<Bytes, Denied> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(Denied::TooLarge(limit));
    }
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Denied::Malformed(format!("body broke off ({error})")))?;
        if whole.len() + chunk.len() > limit {
            return Err(Denied::TooLarge(limit));
        }
        share.grow(chunk.len())?;
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

/// Unpacks a body; a small one that unpacks to more than `limit`, or than there is room for, is refused before it is
/// whole in memory.
pub(super) fn unpack(body: Bytes, encoding: Option<&str>, limit: usize, share: &mut Share) -> Result<Bytes, Denied> {
    let mut packed: Box<dyn Read + '_> = match encoding {
        None | Some("" | "identity") => return Ok(body),
        Some("gzip") => Box::new(flate2::read::MultiGzDecoder::new(body.as_ref())),
        Some("deflate") => Box::new(flate2::read::ZlibDecoder::new(body.as_ref())),
        Some("zstd") => Box::new(zstd::stream::read::Decoder::new(body.as_ref()).map_err(broken)?),
        Some(other) => {
            let other = crate::sys::text::one_line(other, 40);
            return Err(Denied::Unsupported(format!("content encoding `{other}` is not known; expected gzip")));
        }
    };
    let mut plain = Vec::new();
    loop {
        let read = packed.by_ref().take(STEP).read_to_end(&mut plain).map_err(broken)?;
        if plain.len() > limit {
            return Err(Denied::TooLarge(limit));
        }
        if read == 0 {
            return Ok(plain.into());
        }
        share.grow(read)?;
    }
}

fn broken(error: std::io::Error) -> Denied {
    Denied::Malformed(format!("body cannot be unpacked ({error})"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::budget::Budget;
    use super::*;

    fn unpack(body: &Bytes, encoding: Option<&str>, limit: usize) -> Result<Bytes, Denied> {
        super::unpack(body.clone(), encoding, limit, &mut Budget::new(1 << 20).share())
    }

    #[test]
    fn bodies_are_unpacked_within_bounds() {
        let packed = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        let small = packed(b"hello");
        assert_eq!(unpack(&small, Some("gzip"), 5).ok().unwrap(), "hello");
        assert!(matches!(unpack(&packed(&[0; 100_000]), Some("gzip"), 99_999), Err(Denied::TooLarge(99_999))));
        assert!(matches!(unpack(&small.slice(..8), Some("gzip"), 99), Err(Denied::Malformed(_))));
        assert!(matches!(unpack(&small, Some("br"), 99), Err(Denied::Unsupported(_))));
        let zipped = Bytes::from(zstd::encode_all(&b"hello"[..], 1).unwrap());
        assert_eq!(unpack(&zipped, Some("zstd"), 99).ok().unwrap(), "hello");
        assert_eq!(unpack(&Bytes::from_static(b"x"), None, 0).ok().unwrap(), "x");
        // Two steps of room are not there.
        assert!(matches!(unpack(&packed(&[0; 3 << 20]), Some("gzip"), 1 << 30), Err(Denied::Later(_))));
    }

    #[tokio::test]
    async fn a_body_is_gathered_as_far_as_there_is_room() {
        let (none, budget) = (HeaderMap::new(), Budget::new(10));
        let mut share = budget.share();
        let body = gather(&none, Body::from("12345"), 5, &mut share).await;
        assert_eq!((body.ok().unwrap().as_ref(), share.bytes()), (b"12345".as_slice(), 5));
        let body = gather(&none, Body::from("123456"), 6, &mut budget.share()).await;
        assert!(matches!(body, Err(Denied::Later(_))));
        let body = gather(&none, Body::from("123456"), 5, &mut budget.share()).await;
        assert!(matches!(body, Err(Denied::TooLarge(5))));
    }
}
