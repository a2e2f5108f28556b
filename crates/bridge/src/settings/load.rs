//! Puts the settings together: gather, parse each, judge them together.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf};

use super::{
    Entry, Origin, Settings,
    parse::Parsed,
    problem::{Problem, SettingsError, Source, shown},
    source::Gathered,
    table::{self, Spec},
};
use crate::reload::Stamp;
use cybermesh_transport::Secret;

/// Where settings are read from. Nothing is read that was not named.
#[derive(Default, Clone)]
pub struct Loader {
    file: Option<PathBuf>,
    environment: BTreeMap<String, OsString>,
    overrides: Vec<(String, String)>,
}

/// Without the values: a password may be among them.
impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("file", &self.file)
            .field("variables", &self.environment.len())
            .finish_non_exhaustive()
    }
}

impl Loader {
    /// Reads this TOML file. Takes precedence over `CYBERMESH_CONFIG`.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads the environment of this process.
    #[must_use]
    pub fn process_environment(self) -> Self {
        self.environment(std::env::vars_os())
    }

    /// Reads these variables as if they were the environment. Names that are not UTF-8 are none of ours.
    #[must_use]
    pub fn environment<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let named = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())));
        self.environment.extend(named);
        self
    }

    /// Sets one value by its environment name, alias or file key; wins over file and environment.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.overrides.push((name.into(), value.into()));
        self
    }

    /// Reads everything.
    ///
    /// # Errors
    /// [`SettingsError`] with all that is wrong, never with the first problem alone.
    pub fn load(mut self) -> Result<Settings, SettingsError> {
        // Kept with the settings: what is nobody's setting is none of ours to keep.
        self.environment.retain(|name, _| {
            name.starts_with("KAFKA_")
                || name == table::CONFIG_FILE
                || table::find(name).is_some()
                || name.starts_with("CYBERMESH_")
        });
        let mut gathered = Gathered::default();
        let named = self
            .environment
            .get(table::CONFIG_FILE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let path = self.file.clone().or(named);
        let file = path.as_deref().map(Stamp::of);
        if let Some(path) = &path {
            gathered.file(path);
        }
        gathered.environment(&self.environment);
        for (name, value) in &self.overrides {
            gathered.command_line(name, value);
        }
        let mut reader = Reader {
            gathered,
            entries: Vec::new(),
            problems: Vec::new(),
        };
        let read = reader.settings();
        let Reader {
            gathered,
            mut entries,
            problems,
        } = reader;
        let mut problems = [gathered.problems, problems].concat();
        let order = |env: &str| {
            table::ALL
                .iter()
                .position(|spec| spec.env == env)
                .unwrap_or(usize::MAX)
        };
        entries.sort_by_key(|entry| order(entry.env));
        let Some(mut settings) = read else {
            problems.sort_by_key(|problem| order(&problem.name));
            return Err(SettingsError::new(problems));
        };
        settings.entries = entries;
        settings.origin = Origin { loader: self, file };
        settings.notes = gathered.notes;
        settings.derive();
        settings.judge(&mut problems);
        problems.sort_by_key(|problem| order(&problem.name));
        SettingsError::check(problems)?;
        settings.remark();
        Ok(settings)
    }
}

/// Turns what was gathered into values, one setting at a time.
pub(super) struct Reader {
    gathered: Gathered,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl Reader {
    /// The value of `spec`, or `None` after noting a problem.
    pub(super) fn value<T>(
        &mut self,
        spec: &'static Spec,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        let (text, source) = self.text(spec);
        self.parsed(spec, &text, source, parse)
    }

    /// As [`Self::value`], for settings that may have none: `Some(None)`.
    pub(super) fn optional<T>(
        &mut self,
        spec: &'static Spec,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<Option<T>> {
        let (text, source) = self.text(spec);
        if text.is_empty() {
            self.list(spec, None, source);
            return Some(None);
        }
        self.parsed(spec, &text, source, parse).map(Some)
    }

    /// A value that is listed as set or unset, and is never repeated.
    pub(super) fn secret(&mut self, spec: &'static Spec) -> Option<Secret> {
        let (text, source) = self.text(spec);
        let is_set = !text.is_empty();
        self.list(spec, is_set.then(|| "set".to_owned()), source);
        is_set.then(|| Secret::new(text))
    }

    fn text(&self, spec: &'static Spec) -> (String, Source) {
        match self.gathered.said.get(spec.env) {
            Some((text, source)) => (text.clone(), source.clone()),
            None => (spec.default.to_owned(), Source::Default),
        }
    }

    fn parsed<T>(
        &mut self,
        spec: &'static Spec,
        text: &str,
        source: Source,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => {
                self.list(spec, Some(text.to_owned()), source);
                Some(value)
            }
            Err(reason) => {
                let reason = reason.unwrap_or_else(|| "not accepted".to_owned());
                self.problems.push(Problem {
                    name: spec.env.to_owned(),
                    source,
                    reason: format!("{}: {reason}", shown(text)),
                    accepts: spec.accepts.to_owned(),
                });
                None
            }
        }
    }

    fn list(&mut self, spec: &'static Spec, value: Option<String>, source: Source) {
        self.entries.push(Entry {
            env: spec.env,
            key: spec.key,
            value,
            source,
            about: spec.about,
        });
    }
}
