//! The documents for those who run the product name everything that they may meet: each reason in a status and each alert has
//! its cure, and what they tell people to type is there.

use std::{collections::BTreeSet, fs};

use spinredis_tests::guests::repository;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the variants of `Reason`, from where they are written as text.
fn reasons() -> BTreeSet<String> {
    let source = read("crds/src/report.rs");
    let names = source.lines().filter_map(|line| line.trim().strip_prefix("Reason::")?.split_once(" => \""));
    let names: BTreeSet<String> = names.map(|(name, _)| name.to_owned()).collect();
    assert!(names.len() > 15, "{names:?}");
    names
}

/// First cells of the rows of a table that begins below this heading, without what is in brackets, and the last cells.
fn rows(text: &str, heading: &str) -> Vec<(String, String)> {
    let section = text.split_once(heading).unwrap_or_else(|| panic!("there is no `{heading}`")).1;
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = cells.map(|line| line.split(" | ").map(str::trim).collect::<Vec<_>>());
    rows.map(|cells| (cells[0].trim_end_matches(" (stalled)").to_owned(), (*cells.last().unwrap()).to_owned())).collect()
}

#[test]
fn every_reason_is_explained_with_its_cure() {
    for (path, heading) in [("docs/operations.md", "\n## Reasons\n"), ("docs/guide.md", "\n## Status\n")] {
        let rows = rows(&read(path), heading);
        let explained: BTreeSet<&str> = rows.iter().map(|(reason, _)| reason.as_str()).collect();
        for reason in reasons() {
            assert!(explained.contains(reason.as_str()), "{path} does not explain {reason}");
        }
        let stray: Vec<_> = explained.iter().filter(|name| **name != "reason" && !reasons().contains(**name)).collect();
        assert!(stray.is_empty(), "{path} explains {stray:?}, which no status says");
    }
}

#[test]
fn what_a_person_has_to_do_for_each_alert_is_told() {
    let alerts = read("charts/spin-redis-operator/files/alerts.yaml");
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!names.is_empty());
    let rows = rows(&read("docs/operations.md"), "\n## When an alert fires\n");
    let metrics = read("docs/metrics.md");
    for name in names {
        let anchor = name.to_lowercase();
        let row = rows.iter().find(|(cell, _)| *cell == format!("[{name}](metrics.md#{anchor})"));
        assert!(row.is_some_and(|(_, cure)| !cure.is_empty()), "docs/operations.md says nothing of {name}");
        assert!(metrics.contains(&format!("\n### {name}\n")), "docs/metrics.md has no section of {name}");
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let folder = repository().join("docs");
    let mut broken = Vec::new();
    for file in ["operations.md", "security.md"] {
        let text = read(&format!("docs/{file}"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { folder.join(file) } else { folder.join(path) };
            let Ok(found) = fs::read_to_string(&target) else {
                broken.push(format!("{file}: {link}"));
                continue;
            };
            let headings = found.lines().filter(|line| line.starts_with('#'));
            let anchors: Vec<String> = headings
                .map(|line| {
                    let words = line.trim_start_matches('#').trim().to_lowercase();
                    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
                    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
                })
                .collect();
            if !anchor.is_empty() && !anchors.iter().any(|known| known == anchor) {
                broken.push(format!("{file}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn the_key_for_argo_cd_is_the_kind_of_the_crd() {
    let crd = read("crds/spinredisapps.yaml");
    assert!(crd.contains("group: spinredis.dev\n") && crd.contains("kind: SpinRedisApp\n"));
    let key = "resource.customizations.health.spinredis.dev_SpinRedisApp";
    for path in ["docs/operations.md", "charts/spin-redis-operator/files/health.lua"] {
        assert!(read(path).contains(key), "{path} does not name {key}");
    }
}
