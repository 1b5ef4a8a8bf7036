//! How the examples of a report are laid out over its file and the files beside it, so that ten thousand of them open
//! as fast as ten. What one example says is made in `examples` and `opened`.
//!
//! The first rows can be opened in place; further ones are listed and lead to pages beside the report. Rows beyond the
//! first are text to a browser with scripts until it is idle, and elements to one without.

use handlebars::Handlebars;
use serde::Serialize;

use super::examples::{Form, List};
use super::{Assets, TOOL, page, registry, write};
use crate::report::{Folder, Material, Paged, ReportError, number, words};
use crate::sys::text::one_line;

/// Examples that can be opened in the report itself.
const INLINE_EXAMPLES: usize = 500;
/// Bytes of the report after which no example is opened in it.
const INLINE_BYTES: usize = 24 << 20;
/// Rows in a piece that is held back until the browser is idle.
const PIECE: usize = 500;
/// Examples on a page beside the report.
const PER_PAGE: usize = 250;

/// The head of a page of examples.
#[derive(Serialize)]
struct PageTop<'a> {
    assets: &'a Assets,
    title: String,
    suite: String,
    made_at: String,
    range: String,
    back: &'a str,
    previous: Option<String>,
    next: Option<String>,
}

/// The foot of a page of examples.
#[derive(Serialize)]
struct PageBottom<'a> {
    assets: &'a Assets,
    made_at: String,
    tool: &'static str,
}

/// Renders the report and its pages; without a folder what does not fit is said to be left out.
pub(super) fn render(material: &Material<'_>, folder: Option<&Folder>) -> Result<Paged, ReportError> {
    let templates = registry()?;
    let assets = Assets::new();
    let list = List::of(material);
    let mut main = Vec::with_capacity(1 << 20);
    write(&templates, "top", &page::top(material, &assets), &mut main)?;
    write(&templates, "examples_top", &list.head(), &mut main)?;
    let (elsewhere, unopened) = rows(&templates, &list, folder, &mut main)?;
    write(&templates, "examples_bottom", &list.tail(unopened), &mut main)?;
    write(&templates, "bottom", &page::bottom(material), &mut main)?;
    let mut beside = Vec::new();
    if let Some(folder) = folder {
        let pages: Vec<&[usize]> = elsewhere.chunks(PER_PAGE).collect();
        for (number, indices) in pages.iter().enumerate() {
            let bytes = one_page(&templates, material, &list, folder, (number, pages.len()), indices)?;
            beside.push((page_name(number), bytes));
        }
    }
    Ok(Paged { main, beside })
}

/// Writes the rows. Gives the indices of those that are opened on pages of their own, and how many that are opened
/// nowhere.
fn rows(
    templates: &Handlebars<'_>,
    list: &List<'_>,
    folder: Option<&Folder>,
    bytes: &mut Vec<u8>,
) -> Result<(Vec<usize>, usize), ReportError> {
    let (mut elsewhere, mut unopened) = (Vec::new(), 0);
    for index in 0..list.shown() {
        let held_back = index >= INLINE_EXAMPLES;
        if held_back && (index - INLINE_EXAMPLES).is_multiple_of(PIECE) {
            bytes.extend_from_slice(if index == INLINE_EXAMPLES {
                b"<noscript>\n"
            } else {
                b"</noscript><noscript>\n"
            });
        }
        let form = match folder {
            _ if !list.has_details(index) => Form::Row,
            _ if !held_back && bytes.len() < INLINE_BYTES => Form::Opened,
            Some(folder) => {
                let page = page_name(elsewhere.len() / PER_PAGE);
                elsewhere.push(index);
                Form::Link(format!("{}/{page}", folder.link))
            }
            None => {
                unopened += 1;
                Form::Row
            }
        };
        if let Some(example) = list.example(index, form) {
            write(templates, "example", &example, bytes)?;
        }
    }
    if list.shown() > INLINE_EXAMPLES {
        bytes.extend_from_slice(b"</noscript>\n");
    }
    Ok((elsewhere, unopened))
}

fn page_name(number: usize) -> String {
    format!("{:04}.html", number + 1)
}

fn one_page(
    templates: &Handlebars<'_>,
    material: &Material<'_>,
    list: &List<'_>,
    folder: &Folder,
    (number, pages): (usize, usize),
    indices: &[usize],
) -> Result<Vec<u8>, ReportError> {
    let assets = Assets::new();
    let place = |index: Option<&usize>| number::count(index.map_or(0, |index| *index as u64 + 1));
    let suite = one_line(words::suite(&material.subject), 80);
    let range = format!("Examples {} to {}", place(indices.first()), place(indices.last()));
    let made_at = material.made_at.strftime("%-d %B %Y, %H:%M UTC").to_string();
    let top = PageTop {
        assets: &assets,
        title: format!("{suite}: {range}"),
        suite,
        made_at: made_at.clone(),
        range,
        back: &folder.back,
        previous: number.checked_sub(1).map(page_name),
        next: (number + 1 < pages).then(|| page_name(number + 1)),
    };
    let mut bytes = Vec::with_capacity(1 << 20);
    write(templates, "page_top", &top, &mut bytes)?;
    write(templates, "examples_top", &list.head_of(indices), &mut bytes)?;
    for index in indices {
        if let Some(example) = list.example(*index, Form::Opened) {
            write(templates, "example", &example, &mut bytes)?;
        }
    }
    bytes.extend_from_slice(b"</div>\n</section>\n");
    write(templates, "page_bottom", &PageBottom { assets: &assets, made_at, tool: TOOL }, &mut bytes)?;
    Ok(bytes)
}
