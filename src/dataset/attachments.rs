//! Files that belong to examples: kept once per dataset under their digest, `<root>/<name>/attachments/<digest>`.
//!
//! A name or path from a foreign file never becomes a path here: only the digest does, and only when it is one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use crate::model::{Attachment, Digest, Example};
use crate::sys::files;
use crate::sys::text::one_line;

/// Name of the folder, beside the folders of the versions.
const FOLDER: &str = "attachments";

/// Media types by ending, for files that say none.
const MEDIA_TYPES: &[(&str, &str)] = &[
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("md", "text/markdown"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webp", "image/webp"),
];

/// The media type that a file's name suggests.
pub fn media_type_of(name: &str) -> Option<&'static str> {
    let ending = Path::new(name).extension()?.to_str()?.to_lowercase();
    MEDIA_TYPES.iter().find(|(known, _)| *known == ending).map(|(_, media_type)| *media_type)
}

/// Keeps the bytes of an attachment and gives what an example says of it. Bytes that are kept already are not written
/// again. Without a media type, the name suggests one.
///
/// # Errors
/// The file cannot be written.
pub fn keep(
    root: &Path,
    dataset: &str,
    name: &str,
    media_type: Option<&str>,
    bytes: &[u8],
) -> Result<Attachment, DatasetError> {
    super::version::check_name(dataset)?;
    let attachment = Attachment {
        name: name.to_owned(),
        media_type: media_type.or_else(|| media_type_of(name)).map(str::to_owned),
        digest: Digest::of(bytes),
        bytes: bytes.len() as u64,
    };
    let path = path_of(root, dataset, &attachment)?;
    if !kept(root, dataset)?.contains(&path) {
        files::write_atomic(&path, bytes)?;
    }
    Ok(attachment)
}

/// Reads an attachment and checks that it is what its digest says.
///
/// # Errors
/// It is missing or was changed.
pub fn read(root: &Path, dataset: &str, attachment: &Attachment) -> Result<Vec<u8>, DatasetError> {
    read_at(&path_of(root, dataset, attachment)?, attachment)
}

fn read_at(path: &Path, attachment: &Attachment) -> Result<Vec<u8>, DatasetError> {
    let bytes = files::read_bytes(path)?;
    if Digest::of(&bytes) != attachment.digest {
        return Err(fault(
            attachment,
            format!("is not what its digest says: `{}` was changed; restore it from where it came", path.display()),
        ));
    }
    Ok(bytes)
}

/// Where an attachment is kept.
///
/// # Errors
/// Its digest is none.
pub fn path_of(root: &Path, dataset: &str, attachment: &Attachment) -> Result<PathBuf, DatasetError> {
    Ok(root.join(dataset).join(FOLDER).join(hex_of(attachment)?))
}

fn hex_of(attachment: &Attachment) -> Result<&str, DatasetError> {
    let hex = attachment.digest.hex();
    hex.ok_or_else(|| fault(attachment, "has no digest: expected `b3:` and 64 hexadecimal digits".to_owned()))
}

fn fault(attachment: &Attachment, cause: String) -> DatasetError {
    DatasetError::Attachment {
        name: one_line(&attachment.name, 80),
        digest: one_line(attachment.digest.short(), 40),
        cause,
    }
}

fn kept(root: &Path, dataset: &str) -> Result<BTreeSet<PathBuf>, DatasetError> {
    Ok(files::list_folder(&root.join(dataset).join(FOLDER))?.into_iter().collect())
}

/// Attachments of examples, each content once.
fn of_examples(examples: &[Example]) -> BTreeMap<&Digest, &Attachment> {
    examples.iter().flat_map(|example| &example.attachments).map(|found| (&found.digest, found)).collect()
}

/// Checks that every attachment is kept, so that no version refers to nothing. What the bytes are is [`read`]'s.
pub(super) fn check_kept(root: &Path, dataset: &str, examples: &[Example]) -> Result<(), DatasetError> {
    let wanted = of_examples(examples);
    if wanted.is_empty() {
        return Ok(());
    }
    let kept = kept(root, dataset)?;
    for attachment in wanted.values() {
        if !kept.contains(&path_of(root, dataset, attachment)?) {
            let cause = format!(
                "is not kept with dataset `{dataset}`; an export puts attachments into a folder beside its file: leave \
                 that folder there when importing"
            );
            return Err(fault(attachment, cause));
        }
    }
    Ok(())
}

/// The folder of attachments beside an exported file: `qa.jsonl` has `qa.jsonl.attachments`.
pub fn folder_beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".attachments");
    file.with_file_name(name)
}

/// Copies attachments of examples into a folder, for an export. Gives how many.
///
/// # Errors
/// One is missing or changed, or cannot be written.
pub fn copy_out(root: &Path, dataset: &str, examples: &[Example], folder: &Path) -> Result<u64, DatasetError> {
    let wanted = of_examples(examples);
    for attachment in wanted.values() {
        let bytes = read(root, dataset, attachment)?;
        files::write_atomic(&folder.join(hex_of(attachment)?), &bytes)?;
    }
    Ok(wanted.len() as u64)
}

/// Keeps attachments that stand in the folder beside an imported file. Those that do not stand there are left to
/// the check of what is kept: they may be kept already.
///
/// # Errors
/// One is not what its digest says, or cannot be written.
pub fn take_in(root: &Path, dataset: &str, examples: &[Example], file: &Path) -> Result<u64, DatasetError> {
    let folder = folder_beside(file);
    let there: BTreeSet<PathBuf> = files::list_folder(&folder)?.into_iter().collect();
    let mut taken = 0;
    for attachment in of_examples(examples).values() {
        let path = folder.join(hex_of(attachment)?);
        if there.contains(&path) {
            keep(root, dataset, &attachment.name, None, &read_at(&path, attachment)?)?;
            taken += 1;
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_kept_once_and_checked_on_reading() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let one = keep(root, "d", "a.PNG", None, b"bytes").unwrap();
        let two = keep(root, "d", "again", Some("text/plain"), b"bytes").unwrap();
        assert_eq!((one.media_type.as_deref(), one.bytes), (Some("image/png"), 5));
        assert_eq!((&one.digest, kept(root, "d").unwrap().len()), (&two.digest, 1));
        assert_eq!(read(root, "d", &one).unwrap(), b"bytes");
        files::write_atomic(&path_of(root, "d", &one).unwrap(), b"other").unwrap();
        assert!(read(root, "d", &one).unwrap_err().to_string().contains("was changed"));
    }

    #[test]
    fn a_foreign_digest_never_becomes_a_path() {
        let digest = serde_json::from_value(json!("b3:../../../../etc/passwd")).unwrap();
        let evil = Attachment { name: "../x".into(), media_type: None, digest, bytes: 1 };
        assert!(read(Path::new("/nowhere"), "d", &evil).unwrap_err().to_string().contains("no digest"));
        let mut example = Example::new("e".into(), json!("q"));
        example.attachments.push(evil);
        let root = tempfile::tempdir().unwrap();
        assert!(check_kept(root.path(), "d", &[example]).is_err());
    }

    #[test]
    fn an_export_carries_attachments_to_another_place() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut example = Example::new("e".into(), json!("q"));
        example.attachments.push(keep(from.path(), "d", "a.txt", None, b"text").unwrap());
        let file = to.path().join("d.jsonl");
        assert_eq!(copy_out(from.path(), "d", &[example.clone()], &folder_beside(&file)).unwrap(), 1);
        let examples = [example];
        assert!(check_kept(to.path(), "e", &examples).unwrap_err().to_string().contains("not kept"));
        assert_eq!(take_in(to.path(), "e", &examples, &file).unwrap(), 1);
        check_kept(to.path(), "e", &examples).unwrap();
    }
}
