//! Prometheus text, taken apart.

use std::collections::{BTreeMap, BTreeSet};

/// One line with its labels in the order of their names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Everything a scrape shows.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// The kind of each family.
    pub(crate) kinds: BTreeMap<String, String>,
    pub(crate) samples: Vec<Sample>,
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Self {
        let mut scrape = Self {
            kinds: BTreeMap::new(),
            samples: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                scrape.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                scrape.samples.push(sample(line));
            }
        }
        scrape
    }

    /// The lines of a family: those of a histogram carry three names of their own.
    pub(crate) fn of<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a Sample> {
        let is_histogram = self
            .kinds
            .get(family)
            .is_some_and(|kind| kind == "histogram");
        self.samples.iter().filter(move |sample| {
            let rest = sample.name.strip_prefix(family);
            match rest {
                Some("") => !is_histogram,
                Some("_bucket" | "_sum" | "_count") => is_histogram,
                _ => false,
            }
        })
    }

    /// Each set of label names that lines of a family carry; without `le`.
    pub(crate) fn label_sets(&self, family: &str) -> BTreeSet<Vec<String>> {
        let names = |sample: &Sample| {
            let names = sample.labels.keys().filter(|name| *name != "le");
            names.cloned().collect()
        };
        self.of(family).map(names).collect()
    }

    /// The upper bounds of a histogram's buckets.
    pub(crate) fn bounds(&self, family: &str) -> BTreeSet<String> {
        let bounds = |sample: &Sample| sample.labels.get("le").cloned();
        self.of(family).filter_map(bounds).collect()
    }

    /// The sum over all lines of this name that carry these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
        };
        let samples = self.samples.iter().filter(carries);
        samples.map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
    };
    Sample {
        name: name.to_owned(),
        labels: labels_of(labels),
        value: value.parse().unwrap(),
    }
}

/// `a="b",c="d"`; no value that may come up here holds a quote.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').unwrap();
        labels.insert(name.to_owned(), value.to_owned());
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    labels
}
