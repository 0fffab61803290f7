//! An error as a test describes it.

/// Everything an issue starts with.
#[derive(Debug, Clone)]
pub struct NewError {
    /// Slug of the project; made when it is not there.
    pub project: String,
    /// Class of the error, `ValueError`.
    pub kind: String,
    /// What it says.
    pub value: String,
    /// `fatal`, `error`, `warning`, `info`, `debug`, or nothing.
    pub level: Option<String>,
    /// `python`.
    pub platform: String,
    /// Frames, innermost last: file, function, line, text of the line, own code.
    pub frames: Vec<Frame>,
    /// Events within the last 24 hours.
    pub events: u64,
    /// Affected users.
    pub users: u64,
    /// Hash that groups its events.
    pub fingerprint: String,
    /// Environment.
    pub environment: String,
    /// Release; Sentry has known it for a week.
    pub release: String,
    /// No webhook tells of it.
    pub silent: bool,
}

/// A stack frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// File.
    pub file: String,
    /// Function.
    pub function: String,
    /// Line, from 1.
    pub line: u32,
    /// Text of that line.
    pub text: String,
    /// The project's own code.
    pub in_app: bool,
}

impl NewError {
    /// A Python error with one event of one user, in production, without a stack trace.
    pub fn new(project: &str, kind: &str, value: &str) -> Self {
        Self {
            project: project.to_owned(),
            kind: kind.to_owned(),
            value: value.to_owned(),
            level: Some("error".to_owned()),
            platform: "python".to_owned(),
            frames: Vec::new(),
            events: 1,
            users: 1,
            fingerprint: uuid::Uuid::new_v4().simple().to_string(),
            environment: "production".to_owned(),
            release: format!("{project}@1.4.2"),
            silent: false,
        }
    }

    /// The same with a level; empty: none, as Sentry leaves it out now and then.
    #[must_use]
    pub fn level(mut self, level: &str) -> Self {
        self.level = (!level.is_empty()).then(|| level.to_owned());
        self
    }

    /// The same with one more frame, inside the ones before.
    #[must_use]
    pub fn frame(mut self, file: &str, function: &str, line: u32, text: &str) -> Self {
        let in_app = !file.contains("site-packages") && !file.contains("node_modules");
        let (file, function, text) = (file.to_owned(), function.to_owned(), text.to_owned());
        self.frames.push(Frame { file, function, line, text, in_app });
        self
    }

    /// The same with so many events of so many users.
    #[must_use]
    pub fn events(mut self, events: u64, users: u64) -> Self {
        (self.events, self.users) = (events, users);
        self
    }

    /// The same with the hash that groups its events.
    #[must_use]
    pub fn fingerprint(mut self, hash: &str) -> Self {
        hash.clone_into(&mut self.fingerprint);
        self
    }

    /// The same without a webhook.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }
}
