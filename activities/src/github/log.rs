//! Logs of GitHub Actions jobs, and running a job again. A log may have 50 MB: it is read as it arrives, and only the part that
//! is wanted is kept. It comes as text; storages and proxies may hand it over as they keep it, packed with gzip. An archive, as
//! of a whole run, is no log that can be read so.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use workflows::contract::failure::FailureKind;
use workflows::contract::github::{JobLog, JobRef, PullRequestRef};

use super::answer::{RawBody, transport};
use super::client::GitHubClient;
use super::reply::{ChangedFile, JobReply, StepReply};
use crate::failure::ServiceError;

/// Most bytes of the failing step's end.
const TAIL: usize = 16 * 1024;
/// Bytes of the log's end in which the failing step is looked for.
const KEPT: usize = 1024 * 1024;
/// Lines that are read at once.
const LINES: usize = 300;
/// Longest line that is kept, in bytes; minified code can be one line of megabytes.
const LINE: usize = 2000;
/// Longest time for a whole log: shorter than one attempt of a read.
const TRANSFER: Duration = Duration::from_secs(25);
/// Most files of a pull request that are listed.
const FILES: usize = 300;

impl GitHubClient {
    /// The end of the failing step's output, without time stamps and colours.
    pub(super) async fn job_log(&self, job: &JobRef) -> Result<JobLog, ServiceError> {
        let JobRef { repository, job } = job;
        self.refuse_foreign(repository)?;
        let doing = format!("read the steps of job {job}");
        let reply: JobReply =
            self.get(&doing, &format!("/repos/{repository}/actions/jobs/{job}")).await?.into(&doing)?;
        let failed = reply
            .steps
            .iter()
            .find(|step| !matches!(step.conclusion.as_deref(), None | Some("success" | "skipped" | "neutral")));
        let mut lines = Tail::default();
        if !self.read_log(repository, *job, |line| lines.push(line)).await? {
            return Ok(JobLog::Expired);
        }
        let step = failed.map(|step| step.name.clone()).unwrap_or_default();
        Ok(JobLog::Step { step, tail: of_step(&Vec::from(lines.lines), failed) })
    }

    /// A part of a job's log with line numbers: from `from` (1 is the first line), or its end. `None`: GitHub has deleted it.
    pub(crate) async fn log_part(&self, job: &JobRef, from: Option<usize>) -> Result<Option<String>, ServiceError> {
        let JobRef { repository, job } = job;
        self.refuse_foreign(repository)?;
        let mut part: VecDeque<(usize, String)> = VecDeque::new();
        let mut total = 0;
        let there = self.read_log(repository, *job, |line| {
            total += 1;
            match from {
                Some(from) if total < from || part.len() == LINES => return,
                None if part.len() == LINES => {
                    part.pop_front();
                }
                _ => {}
            }
            part.push_back((total, clean(line)));
        });
        if !there.await? {
            return Ok(None);
        }
        let (Some((first, _)), Some((last, _))) = (part.front(), part.back()) else {
            return Ok(Some(format!("The log has {total} lines; there is nothing from line {}.", from.unwrap_or(1))));
        };
        let head = format!("[lines {first} to {last} of {total}]");
        let lines = part.iter().map(|(number, line)| format!("{number:>6}  {line}"));
        Ok(Some(std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")))
    }

    /// Runs a finished job again. GitHub refuses while its run is at work: then it is left alone.
    pub(super) async fn rerun_job(&self, job: &JobRef) -> Result<(), ServiceError> {
        let JobRef { repository, job } = job;
        self.refuse_foreign(repository)?;
        let doing = format!("run job {job} again");
        let route = format!("/repos/{repository}/actions/jobs/{job}/rerun");
        let answer = self.post(&doing, &route, &serde_json::json!({})).await?;
        if answer.status == 403 && answer.says("already running") {
            return Ok(());
        }
        answer.into::<serde_json::Value>(&doing).map(|_| ())
    }

    /// The files that a pull request changes.
    pub(super) async fn changed_files(&self, address: &PullRequestRef) -> Result<Vec<String>, ServiceError> {
        self.refuse_foreign(&address.repository)?;
        let doing = format!("list the files of PR #{}", address.number);
        let route = format!("/repos/{}/pulls/{}/files", address.repository, address.number);
        let (list, _) = self.all(&doing, &route, None, FILES).await?;
        let name = |entry| serde_json::from_value::<ChangedFile>(entry).map(|file| file.filename);
        list.into_iter().map(|entry| name(entry).map_err(|error| super::answer::odd(&doing, error))).collect()
    }

    /// Hands every line of a job's log to `take`; false when GitHub has no log of it (any more), or none that can be read.
    async fn read_log(
        &self,
        repository: &workflows::contract::ids::RepositoryName,
        job: u64,
        take: impl FnMut(&str) + Send,
    ) -> Result<bool, ServiceError> {
        let doing = format!("read the log of job {job}");
        match self.get_text(&doing, &format!("/repos/{repository}/actions/jobs/{job}/logs")).await? {
            Ok(body) => match tokio::time::timeout(TRANSFER, read_lines(&doing, body, take)).await {
                Ok(read) => read,
                Err(late) => {
                    let message = format!("GitHub took more than {} s to {doing}", TRANSFER.as_secs());
                    Err(ServiceError::new(FailureKind::Unavailable, message).caused_by(late))
                }
            },
            // 410: kept no longer. 404: a job that never began has none.
            Err(answer) if matches!(answer.status, 404 | 410) => Ok(false),
            Err(answer) => Err(answer.refusal(&doing)),
        }
    }
}

/// Hands over line by line what arrives; false when it is an archive. A log that is packed is unpacked on the way; it never lies
/// whole in memory.
async fn read_lines(doing: &str, mut body: RawBody, take: impl FnMut(&str) + Send) -> Result<bool, ServiceError> {
    let mut lines = Lines { take, line: Vec::new() };
    // A frame may be one byte long, and the first ones tell the format.
    let mut begin: Vec<u8> = Vec::new();
    while begin.len() < ZIP.len()
        && let Some(frame) = body.frame().await
    {
        if let Ok(bytes) = frame.map_err(|error| transport(doing, error))?.into_data() {
            begin.extend_from_slice(&bytes);
        }
    }
    if begin.starts_with(&ZIP) {
        tracing::warn!(doing, "GitHub sent an archive instead of a log");
        return Ok(false);
    }
    if begin.starts_with(&GZIP) {
        let mut unpacked = MultiGzDecoder::new(lines);
        read_into(doing, &mut unpacked, &begin, body).await?;
        lines = unpacked.finish().map_err(|error| damaged(doing, error))?;
    } else {
        read_into(doing, &mut lines, &begin, body).await?;
    }
    lines.end();
    Ok(true)
}

async fn read_into(
    doing: &str,
    target: &mut (impl Write + Send),
    begin: &[u8],
    mut body: RawBody,
) -> Result<(), ServiceError> {
    target.write_all(begin).map_err(|error| damaged(doing, error))?;
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(|error| transport(doing, error))?.into_data() {
            target.write_all(&bytes).map_err(|error| damaged(doing, error))?;
        }
    }
    Ok(())
}

fn damaged(doing: &str, error: std::io::Error) -> ServiceError {
    ServiceError::new(FailureKind::Unavailable, format!("GitHub sent something damaged: could not {doing}"))
        .caused_by(error)
}

/// First bytes of gzip, RFC 1952 section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// First bytes of a ZIP archive with files in it (APPNOTE.TXT 4.3.7).
const ZIP: [u8; 4] = *b"PK\x03\x04";

/// Cuts bytes into lines.
struct Lines<F> {
    take: F,
    line: Vec<u8>,
}

impl<F: FnMut(&str)> Lines<F> {
    fn end(mut self) {
        if !self.line.is_empty() {
            (self.take)(&String::from_utf8_lossy(&self.line));
        }
    }
}

impl<F: FnMut(&str)> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                (self.take)(String::from_utf8_lossy(&self.line).trim_end_matches('\r'));
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The last lines of a log, at most [`KEPT`] bytes.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, line: &str) {
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.bytes > KEPT {
            let Some(first) = self.lines.pop_front() else { break };
            self.bytes -= first.len();
        }
    }
}

/// The part of a log that the failing step wrote. Lines carry the time to a tenth of a microsecond, steps theirs to a second, so
/// inside that time the step is what stands between its heading and its error.
fn of_step(lines: &[String], step: Option<&StepReply>) -> String {
    let of_time = |line: &&String| {
        let (Some(stamp), Some(step)) = (split(line).0, step) else { return true };
        let stamp = stamp.trunc_subsecs(0);
        step.started_at.is_none_or(|began| stamp >= began.trunc_subsecs(0))
            && step.completed_at.is_none_or(|ended| stamp <= ended.trunc_subsecs(0))
    };
    let inside: Vec<&String> = lines.iter().filter(of_time).collect();
    // A clock that is off must not cost the log.
    let inside = if inside.is_empty() { lines.iter().collect() } else { inside };
    let end = inside.iter().rposition(|line| split(line).1.starts_with("##[error]")).map_or(inside.len(), |at| at + 1);
    let inside = &inside[..end];
    let heading = |line: &&String| split(line).1.starts_with("##[group]Run ");
    let begin = inside.iter().rposition(heading).unwrap_or_default();
    let text: Vec<String> =
        inside[begin..].iter().map(|line| clean(line)).filter(|line| line != "##[endgroup]").collect();
    let text = text.join("\n");
    let cut = text.len().saturating_sub(TAIL);
    let cut = (cut..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    text[cut..].to_owned()
}

/// A line's time stamp, and the rest of it.
fn split(line: &str) -> (Option<DateTime<Utc>>, &str) {
    let line = line.trim_start_matches('\u{feff}');
    match line.split_once(' ') {
        Some((stamp, rest)) => match DateTime::parse_from_rfc3339(stamp) {
            Ok(stamp) => (Some(stamp.to_utc()), rest),
            Err(_) => (None, line),
        },
        None => (DateTime::parse_from_rfc3339(line).ok().map(|stamp| stamp.to_utc()), line),
    }
}

/// A line without time stamp, colours (ECMA-48 control sequences) and the runner's markers.
fn clean(line: &str) -> String {
    let (stamp, rest) = split(line);
    let rest = if stamp.is_some() && !line.contains(' ') { "" } else { rest };
    let mut text = String::with_capacity(rest.len());
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            if !character.is_control() || character == '\t' {
                text.push(character);
            }
        } else if characters.next_if_eq(&'[').is_some() {
            while characters.next_if(|next| !('@'..='~').contains(next)).is_some() {}
            characters.next();
        }
    }
    match text.strip_prefix("##[group]") {
        Some(heading) => heading.to_owned(),
        None => text.replacen("##[error]", "Error: ", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, began: &str, ended: &str) -> StepReply {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
        StepReply {
            name: name.into(),
            conclusion: Some("failure".into()),
            started_at: time(began),
            completed_at: time(ended),
        }
    }

    #[test]
    fn the_failing_step_is_cut_out_of_the_whole() {
        let log = "\u{feff}2026-11-21T12:00:00.1000000Z ##[group]Runner\n\
            2026-11-21T12:00:00.2000000Z ##[endgroup]\n\
            2026-11-21T12:00:01.0000000Z ##[group]Run npm ci\n\
            2026-11-21T12:00:01.1000000Z installed\n\
            2026-11-21T12:00:02.0000000Z ##[group]Run pytest\n\
            2026-11-21T12:00:02.1000000Z \u{1b}[36;1mpytest\u{1b}[0m\n\
            2026-11-21T12:00:02.2000000Z ##[endgroup]\n\
            2026-11-21T12:00:02.3000000Z \u{1b}[31mFAILED\u{1b}[0m tests/test_a.py::test_b - AssertionError: assert 1 == 2\n\
            2026-11-21T12:00:02.4000000Z ##[error]Process completed with exit code 1.\n\
            2026-11-21T12:00:02.5000000Z Post job cleanup.\n\
            2026-11-21T12:00:04.5000000Z ##[error]late noise";
        let lines: Vec<String> = log.lines().map(str::to_owned).collect();
        let failed = step("Run pytest", "2026-11-21T12:00:02Z", "2026-11-21T12:00:02Z");
        assert_eq!(
            of_step(&lines, Some(&failed)),
            "Run pytest\npytest\nFAILED tests/test_a.py::test_b - AssertionError: assert 1 == 2\n\
             Error: Process completed with exit code 1."
        );
        let wrong_clock = step("Run pytest", "2027-01-01T00:00:00Z", "2027-01-01T00:00:01Z");
        assert!(of_step(&lines, Some(&wrong_clock)).contains("late noise"));
        assert!(of_step(&lines, None).contains("late noise"));
    }

    #[test]
    fn a_long_step_is_read_by_its_end() {
        let mut tail = Tail::default();
        for n in 0..60_000 {
            tail.push(&format!("2026-11-21T12:00:02.3000000Z line {n} with some words that make it longer"));
        }
        assert!(tail.bytes <= KEPT);
        let text = of_step(&Vec::from(tail.lines), None);
        assert!(
            text.len() <= TAIL && text.ends_with("line 59999 with some words that make it longer"),
            "{}",
            text.len()
        );
    }

    #[test]
    fn colours_and_stamps_go_and_text_stays() {
        assert_eq!(clean("2026-11-21T12:00:02.3000000Z \u{1b}[1m\u{1b}[31mred\u{1b}[0m ä\tx"), "red ä\tx");
        assert_eq!(clean("no stamp here"), "no stamp here");
        assert_eq!(clean("2026-11-21T12:00:02.3000000Z"), "");
    }
}
