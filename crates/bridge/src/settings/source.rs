//! Gathers what the file, the environment and the command line say, as text, before anything is parsed.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{
    problem::{Problem, Source, shown},
    table::{self, Form, Spec},
};

/// A settings file larger than this is something else.
const LARGEST_FILE_BYTES: u64 = 1 << 20;

/// What was said about each setting (by its environment name), the last and strongest word alone.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) said: BTreeMap<&'static str, (String, Source)>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
}

impl Gathered {
    /// Reads the settings file; a key that is no setting is a mistake, since the file is ours alone.
    pub(super) fn file(&mut self, path: &Path) {
        let source = Source::File(path.to_owned());
        let fault = |reason: String| Problem {
            name: table::CONFIG_FILE.to_owned(),
            source: source.clone(),
            reason,
            accepts: "give the path of a readable TOML file".to_owned(),
        };
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(reason) => return self.problems.push(fault(reason)),
        };
        let parsed: toml::Table = match text.parse() {
            Ok(parsed) => parsed,
            Err(error) => {
                let line = error.span().map_or(1, |span| {
                    text[..span.start.min(text.len())].matches('\n').count() + 1
                });
                return self
                    .problems
                    .push(fault(format!("line {line}: {}", error.message())));
            }
        };
        self.table(path, "", &parsed);
    }

    fn table(&mut self, path: &Path, prefix: &str, entries: &toml::Table) {
        for (name, value) in entries {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let known = table::ALL.iter().find(|spec| spec.key == key);
            match (known, value) {
                (None, toml::Value::Table(inner)) => self.table(path, &key, inner),
                (None, _) => {
                    let near = nearest(&key, table::ALL.iter().map(|spec| spec.key));
                    self.problems.push(Problem {
                        name: key,
                        source: Source::File(path.to_owned()),
                        reason: "no such setting".to_owned(),
                        accepts: near
                            .map(|near| format!("did you mean {near}?"))
                            .unwrap_or_default(),
                    });
                }
                (Some(spec), value) => match plain(value) {
                    Some(text) => self.say(
                        spec,
                        anchored(spec, path, text),
                        Source::File(path.to_owned()),
                    ),
                    None => self.problems.push(Problem {
                        name: key,
                        source: Source::File(path.to_owned()),
                        reason: format!("a {} instead of a plain value", value.type_str()),
                        accepts: spec.accepts.to_owned(),
                    }),
                },
            }
        }
    }

    /// Reads the environment. Names that are nearly ours are warned of; values are never repeated in warnings.
    pub(super) fn environment(&mut self, variables: &BTreeMap<String, OsString>) {
        for spec in table::ALL {
            let mut names = std::iter::once(&spec.env).chain(spec.aliases);
            let mut set = names
                .by_ref()
                .filter(|name| variables.get(**name).is_some_and(|value| !value.is_empty()));
            let Some(name) = set.next() else { continue };
            if *name != spec.env {
                self.notes.push(format!("{name} is taken for {}", spec.env));
            }
            for ignored in set {
                self.notes
                    .push(format!("{ignored} is ignored: {name} is set as well"));
            }
            match variables[*name].to_str() {
                Some(text) => self.say(spec, text.to_owned(), Source::Environment(name)),
                None => self.problems.push(Problem {
                    name: spec.env.to_owned(),
                    source: Source::Environment(name),
                    reason: "not UTF-8".to_owned(),
                    accepts: spec.accepts.to_owned(),
                }),
            }
        }
        self.warn_of_strangers(variables);
    }

    fn warn_of_strangers(&mut self, variables: &BTreeMap<String, OsString>) {
        for name in variables.keys() {
            let ours = name.starts_with("KAFKA_") || name.starts_with("CYBERMESH_");
            let silent = name == table::CONFIG_FILE || table::FOREIGN.contains(&name.as_str());
            if !ours || silent || table::find(name).is_some() {
                continue;
            }
            let names = table::ALL
                .iter()
                .flat_map(|spec| std::iter::once(spec.env).chain(spec.aliases.iter().copied()));
            let near = nearest(name, names.chain([table::CONFIG_FILE]));
            let hint = near
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            self.notes.push(format!("{name} is not a setting{hint}"));
        }
    }

    /// Takes what the command line, or a program, sets by environment name, alias or file key.
    pub(super) fn command_line(&mut self, name: &str, value: &str) {
        match table::find(name) {
            Some(spec) => self.say(spec, value.to_owned(), Source::CommandLine),
            None => {
                let near = nearest(
                    name,
                    table::ALL.iter().flat_map(|spec| [spec.env, spec.key]),
                );
                self.problems.push(Problem {
                    name: shown(name),
                    source: Source::CommandLine,
                    reason: "no such setting".to_owned(),
                    accepts: near
                        .map(|near| format!("did you mean {near}?"))
                        .unwrap_or_default(),
                });
            }
        }
    }

    fn say(&mut self, spec: &'static Spec, text: String, source: Source) {
        // A blank may be part of a password.
        let text = match spec.form {
            Form::Secret => text,
            Form::Text | Form::Path => text.trim().to_owned(),
        };
        self.said.insert(spec.env, (text, source));
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| reason(&error))?.len();
    if size > LARGEST_FILE_BYTES {
        return Err(format!(
            "{size} bytes, more than the {LARGEST_FILE_BYTES} that settings may take"
        ));
    }
    fs::read_to_string(path).map_err(|error| reason(&error))
}

/// The reason of an I/O error in words, without its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::InvalidData => "not UTF-8".to_owned(),
        ErrorKind::IsADirectory => "a folder, not a file".to_owned(),
        kind => kind.to_string(),
    }
}

/// A TOML value as the text that the environment would have carried.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => Some(
            items
                .iter()
                .map(plain)
                .collect::<Option<Vec<_>>>()?
                .join(","),
        ),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// Paths in a file start at that file's folder: a service's working folder is nobody's choice.
fn anchored(spec: &Spec, file: &Path, text: String) -> String {
    let folder = match (spec.form, file.parent()) {
        (Form::Path, Some(folder)) if !text.is_empty() && !text.contains("-----BEGIN") => folder,
        _ => return text,
    };
    let joined: PathBuf = folder.join(&text);
    joined.to_str().map_or(text, str::to_owned)
}

/// The known name nearest to `name`, if one is near enough to be meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 3)
        .map(|(_, candidate)| candidate)
}
