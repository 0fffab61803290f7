//! Which package managers and interpreters the sandbox has, in which versions.

use std::collections::BTreeMap;
use std::time::Duration;

use workflows::agents::untrusted::without_sequences;

use crate::failure::ServiceError;
use crate::sandbox::{Command, Sandbox};

/// Each program, and how it tells its version.
const PROGRAMS: [(&str, &str); 14] = [
    ("python3", "--version"),
    ("uv", "--version"),
    ("poetry", "--version"),
    ("node", "--version"),
    ("npm", "--version"),
    ("pnpm", "--version"),
    ("yarn", "--version"),
    ("cargo", "--version"),
    ("rustc", "--version"),
    ("go", "version"),
    ("java", "-version"),
    ("mvn", "--version"),
    ("gradle", "--version"),
    ("gcc", "-dumpfullversion"),
];
/// What belongs together. uv, poetry, pnpm and yarn come from their registry where they are missing.
const LANGUAGES: [(&str, &[&str]); 5] = [
    ("Python", &["python3", "uv", "poetry"]),
    ("JavaScript", &["node", "npm", "pnpm", "yarn"]),
    ("Rust", &["cargo", "rustc"]),
    ("Go", &["go"]),
    ("Java", &["java", "mvn", "gradle"]),
];
/// How the line of a program begins that may say something of Java first.
const OWN_LINES: [(&str, &str); 2] = [("gradle", "Gradle "), ("mvn", "Apache Maven ")];
/// Lines of an answer that are looked at.
const LINES: usize = 8;
/// Time for all of them. Some are slow to start on a busy host.
const LIMIT: Duration = Duration::from_secs(120);

/// The programs of the sandbox, by name, with the line that tells their version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tooling(BTreeMap<String, String>);

impl Tooling {
    /// Asks in the sandbox.
    ///
    /// # Errors
    /// The sandbox does not run.
    pub async fn of(sandbox: &Sandbox) -> Result<Self, ServiceError> {
        let ask = |(program, flag): (&str, &str)| {
            format!(
                "command -v {program} >/dev/null && printf '%s\\t%s\\n' {program} \"$({program} {flag} 2>&1 \
                 | grep -v '^$\\|^-\\|Picked up' | head -n {LINES} | tr '\\n\\t' '\\t ')\"\n"
            )
        };
        let script: String = PROGRAMS.into_iter().map(ask).collect();
        let finished = sandbox.run(Command::script(&script, None, LIMIT)).await?;
        Ok(Self::read(&finished.stdout.text()))
    }

    fn read(printed: &str) -> Self {
        let entry = |line: &str| {
            let (name, said) = line.split_once('\t')?;
            let lines: Vec<String> = said.split('\t').map(without_colours).collect();
            let own = OWN_LINES.into_iter().find_map(|(program, begins)| (program == name).then_some(begins));
            let own = own.and_then(|begins| lines.iter().find(|line| line.starts_with(begins)));
            let version = own.or(lines.first())?;
            // A program that prints an error instead, as a shim without a program behind it does, is none.
            version.contains(|c: char| c.is_ascii_digit()).then(|| (name.to_owned(), version.trim().to_owned()))
        };
        Self(printed.lines().filter_map(entry).collect())
    }

    /// Whether a program is there.
    pub fn has(&self, program: &str) -> bool {
        self.0.contains_key(program)
    }

    /// All programs that are there.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The lines of these programs.
    pub(super) fn versions<'a>(&'a self, programs: &'a [String]) -> impl Iterator<Item = (&'a str, &'a str)> {
        programs.iter().filter_map(|program| Some((program.as_str(), self.0.get(program)?.as_str())))
    }

    /// One line per language, for people: its tools with their versions, and those that are not there.
    pub fn lines(&self) -> Vec<String> {
        let line = |(language, programs): &(&str, &[&str])| {
            let (there, missing): (Vec<&str>, Vec<&str>) = programs.iter().partition(|program| self.has(program));
            let there: Vec<String> = there.into_iter().map(|program| self.short(program)).collect();
            match (there.is_empty(), missing.is_empty()) {
                (true, _) => format!("{language}: nothing installed"),
                (_, true) => format!("{language}: {}", there.join(", ")),
                _ => format!("{language}: {}; not there: {}", there.join(", "), missing.join(", ")),
            }
        };
        LANGUAGES.iter().map(line).collect()
    }

    /// A program and its version: `python3 3.11.2`.
    fn short(&self, program: &str) -> String {
        let line = self.0.get(program).map_or("", String::as_str);
        let around = ['"', 'v', '(', ')'];
        let number = |word: &&str| word.trim_matches(around).starts_with(|c: char| c.is_ascii_digit());
        let mut words = line.split([' ', '"']).map(|word| word.strip_prefix("go").unwrap_or(word));
        format!("{program} {}", words.find(number).unwrap_or(line).trim_matches(around))
    }
}

/// A line without the sequences that colour it, and without other control characters: programs write some also where nobody sees
/// them.
fn without_colours(line: &str) -> String {
    let mut plain = without_sequences(line);
    plain.retain(|c| !c.is_control());
    plain
}

#[cfg(test)]
impl Tooling {
    /// These programs, in some version.
    pub(super) fn with(programs: &[&str]) -> Self {
        Self(programs.iter().map(|program| ((*program).to_owned(), "1.0".to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_print() {
        let printed = "python3\tPython 3.11.2\nnode\tv20.20.2\ngo\tgo version go1.26.0 linux/amd64\n\
                       java\topenjdk version \"17.0.14\" 2025-01-21\nmvn\t\u{1b}[1mApache Maven 3.8.7\u{1b}[m\tMaven home: /usr\n\
                       gradle\topenjdk version \"17.0.15\" 2025-04-15\tOpenJDK (build 17.0.15+6)\tGradle 4.4.1\ncargo\terror: no toolchain\n";
        let tooling = Tooling::read(printed);
        assert!(tooling.has("go") && !tooling.has("cargo"));
        let expected = [
            "Python: python3 3.11.2; not there: uv, poetry",
            "JavaScript: node 20.20.2; not there: npm, pnpm, yarn",
            "Rust: nothing installed",
            "Go: go 1.26.0",
            "Java: java 17.0.14, mvn 3.8.7, gradle 4.4.1",
        ];
        assert_eq!(tooling.lines(), expected);
    }
}
