//! Links between the pages, and from them to files and headings.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the links of all pages below `root` that lead nowhere are.
pub(crate) fn broken(root: &Path) -> Vec<String> {
    pages(root)
        .iter()
        .flat_map(|page| broken_in(root, page))
        .collect()
}

/// The Markdown files of the top folder, and those of the folders that hold documentation.
fn pages(root: &Path) -> Vec<PathBuf> {
    [
        "",
        "docs",
        "examples",
        "examples/rotators",
        "charts/keystead",
    ]
    .iter()
    .filter_map(|folder| fs::read_dir(root.join(folder)).ok())
    .flatten()
    .map(|entry| entry.expect("a folder can be listed").path())
    .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    .collect()
}

fn broken_in(root: &Path, page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page is readable text");
    let name = page.strip_prefix(root).unwrap_or(page).display();
    links(&text)
        .filter(|link| !link.contains("://") && !leads_somewhere(page, &text, link))
        .map(|link| format!("{name}: {link}"))
        .collect()
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link)
}

fn leads_somewhere(page: &Path, text: &str, link: &str) -> bool {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    if file.is_empty() {
        return has_heading(text, heading);
    }
    let target = page.parent().expect("a page is in a folder").join(file);
    if heading.is_empty() {
        return target.exists();
    }
    fs::read_to_string(target).is_ok_and(|text| has_heading(&text, heading))
}

fn has_heading(text: &str, anchor: &str) -> bool {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor_of(line) == anchor)
}

/// The anchor that the usual renderers give a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
