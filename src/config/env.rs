//! Looking variables up and turning them into values, with every fault kept instead of the first one thrown.

use std::fmt;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The variable at fault, such as `PORT`, or the place in the `.env` file, such as `.env line 3`.
    pub variable: String,
    /// What is wrong and what would be right. Never holds the value of a secret.
    pub problem: String,
}

/// Everything that is wrong with the configuration. Its `Display` prints one fault a line, each naming its variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(
    /// The faults, in the order in which the settings are read; never empty.
    pub Vec<Fault>,
);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { variable, problem }) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{variable}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Something an operator should know that does not stop the start: one sentence or two, naming the variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

/// The lookup, and what was found wanting on the way.
pub(super) struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    pub faults: Vec<Fault>,
    pub warnings: Vec<Warning>,
}

/// The end of a reader's answer: the value, or what it must be ("must be …").
pub(super) type Read<T> = Result<T, String>;

impl<'a> Env<'a> {
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, faults: Vec::new(), warnings: Vec::new() }
    }

    /// The value of `name`, or `default` when it is unset or faulty. A fault quotes the value.
    pub fn or<T>(&mut self, name: &str, default: T, read: impl FnOnce(&str) -> Read<T>) -> T {
        self.optional(name, read).unwrap_or(default)
    }

    /// The value of `name`, `None` when it is unset or faulty. A fault quotes the value.
    pub fn optional<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Read<T>) -> Option<T> {
        let value = self.value(name)?;
        self.keep(name, read(&value).map_err(|problem| format!("{problem}, but is {}", quote(&value))))
    }

    /// Like [`Env::optional`] for a value that may hold a password or a phone number, or a key put into the wrong
    /// place: a fault does not quote it.
    pub fn private<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Read<T>) -> Option<T> {
        let value = self.value(name)?;
        self.keep(name, read(&value))
    }

    /// A secret: the value of `name`, or the content of the file that `{name}_FILE` names; not both.
    pub fn secret<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Read<T>) -> Option<T> {
        let file_variable = format!("{name}_FILE");
        let (value, path) = (self.value(name), self.value(&file_variable));
        match (value, path) {
            (Some(_), Some(_)) => {
                self.fault(name, format!("is given twice, here and by {file_variable}: keep one of them"));
                None
            }
            (Some(value), None) => self.keep(name, read(&value)),
            (None, Some(path)) => {
                let content = self.keep(&file_variable, read_secret_file(&path))?;
                self.keep(&file_variable, read(&content).map_err(|problem| format!("the content {problem}")))
            }
            (None, None) => None,
        }
    }

    pub fn fault(&mut self, variable: &str, problem: impl Into<String>) {
        self.faults.push(Fault { variable: variable.to_owned(), problem: problem.into() });
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(Warning(text.into()));
    }

    /// The trimmed value of a variable; empty counts as unset.
    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?.trim().to_owned();
        // The process environment is read lossily: what was not UTF-8 arrives as the replacement character.
        if value.contains('\u{FFFD}') {
            self.fault(name, "must be UTF-8 text");
            return None;
        }
        (!value.is_empty()).then_some(value)
    }

    fn keep<T>(&mut self, variable: &str, read: Read<T>) -> Option<T> {
        read.map_err(|problem| self.fault(variable, problem)).ok()
    }
}

fn read_secret_file(path: &str) -> Read<String> {
    let content = std::fs::read_to_string(path).map_err(|error| format!("cannot read the file {path:?}: {error}"))?;
    let content = content.trim();
    if content.is_empty() { Err(format!("the file {path:?} is empty")) } else { Ok(content.to_owned()) }
}

/// The value as a fault shows it: on one line, and not at any length.
fn quote(value: &str) -> String {
    const SHOWN: usize = 80;
    let start: String = value.chars().take(SHOWN).collect();
    format!("{start:?}{}", if start.len() < value.len() { "…" } else { "" })
}
