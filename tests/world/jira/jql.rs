//! A small, honest part of JQL. What is not understood is refused with 400, as Jira refuses it; nothing is ignored.
//!
//! Source: "Advanced search reference - JQL fields" and "operators", Jira Cloud documentation. Text search (`~`) finds
//! issues that contain every word of the query, as words, in any order; `*` at the end of a word matches its beginning.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use super::state::Issue;

/// A parsed query.
#[derive(Debug)]
pub(super) struct Query {
    condition: Condition,
    order: Vec<(Field, bool)>,
}

#[derive(Debug)]
enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Clause { field: Field, op: Op, values: Vec<String> },
}

/// A kind of name that must exist for a query to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Project,
    Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Project,
    Key,
    Labels,
    Status,
    StatusCategory,
    Priority,
    IssueType,
    Reporter,
    Summary,
    Description,
    Comment,
    Text,
    Created,
    Updated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Is,
    IsNot,
    In,
    NotIn,
    Contains,
    ContainsNot,
    After,
    NotBefore,
    Before,
    NotAfter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

impl Query {
    /// Parses a query at `now` (for relative dates, resolved when matched). The error is Jira's kind of message.
    pub(super) fn parse(jql: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(jql)?, at: 0 };
        if parser.tokens.is_empty() || parser.peek_word("order") {
            return Err(
                "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.".into()
            );
        }
        let condition = parser.any_of()?;
        let order = parser.order()?;
        match parser.next() {
            None => Ok(Self { condition, order }),
            Some(rest) => Err(format!("Error in the JQL Query: Expecting either 'OR' or 'AND' but got {rest:?}.")),
        }
    }

    /// Values the query asks of a field that must exist, as Jira demands of projects and issue keys.
    pub(super) fn names(&self) -> Vec<(Name, &str)> {
        let mut found = Vec::new();
        let mut open = vec![&self.condition];
        while let Some(condition) = open.pop() {
            match condition {
                Condition::And(inner) | Condition::Or(inner) => open.extend(inner),
                Condition::Not(inner) => open.push(inner),
                Condition::Clause { field: Field::Project, values, .. } => {
                    found.extend(values.iter().map(|value| (Name::Project, value.as_str())));
                }
                Condition::Clause { field: Field::Key, values, .. } => {
                    found.extend(values.iter().map(|value| (Name::Key, value.as_str())));
                }
                Condition::Clause { .. } => {}
            }
        }
        found
    }

    /// The matching issues, in the query's order; newest first when it names none.
    pub(super) fn select<'a>(&self, issues: impl Iterator<Item = &'a Issue>, now: DateTime<Utc>) -> Vec<&'a Issue> {
        let mut found: Vec<&Issue> = issues.filter(|issue| self.condition.holds(issue, now)).collect();
        found.sort_by_key(|issue| std::cmp::Reverse(issue.id));
        // Stable sorts, the last key first, make the first key the strongest.
        for (field, descending) in self.order.iter().rev() {
            found.sort_by(|a, b| {
                let order = field.compare(a, b);
                if *descending { order.reverse() } else { order }
            });
        }
        found
    }
}

impl Field {
    fn named(name: &str) -> Result<Self, String> {
        Ok(match name.to_lowercase().as_str() {
            "project" => Self::Project,
            "key" | "issuekey" | "issue" | "id" => Self::Key,
            "labels" => Self::Labels,
            "status" => Self::Status,
            "statuscategory" => Self::StatusCategory,
            "priority" => Self::Priority,
            "issuetype" | "type" => Self::IssueType,
            "reporter" => Self::Reporter,
            "summary" => Self::Summary,
            "description" => Self::Description,
            "comment" => Self::Comment,
            "text" => Self::Text,
            "created" | "createddate" => Self::Created,
            "updated" | "updateddate" => Self::Updated,
            _ => return Err(format!("Field '{name}' does not exist or you do not have permission to view it.")),
        })
    }

    fn allows(self, op: Op) -> bool {
        use Op::{After, Before, Contains, ContainsNot, In, Is, IsNot, NotAfter, NotBefore, NotIn};
        match self {
            Self::Summary | Self::Description | Self::Comment | Self::Text => matches!(op, Contains | ContainsNot),
            Self::Created | Self::Updated => matches!(op, After | NotBefore | Before | NotAfter),
            _ => matches!(op, Is | IsNot | In | NotIn),
        }
    }

    fn compare(self, a: &Issue, b: &Issue) -> std::cmp::Ordering {
        match self {
            Self::Created => a.created.cmp(&b.created),
            Self::Updated => a.updated.cmp(&b.updated),
            Self::Key => (a.project(), a.number()).cmp(&(b.project(), b.number())),
            Self::Summary => a.summary.cmp(&b.summary),
            _ => self.words(a).cmp(&self.words(b)),
        }
    }

    /// Values an issue has for a field of names.
    fn words(self, issue: &Issue) -> Vec<String> {
        match self {
            Self::Project => vec![issue.project().to_owned()],
            Self::Key => vec![issue.key.clone(), issue.id.to_string()],
            Self::Labels => issue.labels.clone(),
            Self::Status => vec![issue.status.clone()],
            Self::StatusCategory => vec![super::state::category_of(&issue.status).1.to_owned()],
            Self::Priority => vec![issue.priority.clone()],
            Self::IssueType => vec![issue.issue_type.clone()],
            Self::Reporter => vec![issue.reporter.clone()],
            _ => Vec::new(),
        }
    }

    /// Text an issue has for a field of prose.
    fn prose(self, issue: &Issue) -> String {
        let comments = || issue.comments.iter().map(|comment| comment.text.as_str()).collect::<Vec<_>>().join("\n");
        match self {
            Self::Summary => issue.summary.clone(),
            Self::Description => issue.description_text(),
            Self::Comment => comments(),
            _ => format!("{}\n{}\n{}", issue.summary, issue.description_text(), comments()),
        }
    }
}

impl Condition {
    fn holds(&self, issue: &Issue, now: DateTime<Utc>) -> bool {
        let (field, op, values) = match self {
            Self::And(all) => return all.iter().all(|c| c.holds(issue, now)),
            Self::Or(any) => return any.iter().any(|c| c.holds(issue, now)),
            Self::Not(inner) => return !inner.holds(issue, now),
            Self::Clause { field, op, values } => (*field, *op, values),
        };
        match op {
            Op::Is | Op::In | Op::IsNot | Op::NotIn => {
                let has = field.words(issue);
                let hit = values.iter().any(|value| match value.to_lowercase().as_str() {
                    "empty" | "null" => has.is_empty(),
                    wanted => has.iter().any(|word| word.to_lowercase() == wanted),
                });
                // An issue without any value never answers to "is not", as in Jira.
                if matches!(op, Op::Is | Op::In) { hit } else { !hit && !has.is_empty() }
            }
            Op::Contains | Op::ContainsNot => {
                let hit = values.iter().all(|value| contains(&field.prose(issue), value));
                hit == (op == Op::Contains)
            }
            _ => {
                let at = if field == Field::Created { issue.created } else { issue.updated };
                let limit = values.first().and_then(|value| moment(value, now)).unwrap_or(now);
                match op {
                    Op::After => at > limit,
                    Op::NotBefore => at >= limit,
                    Op::Before => at < limit,
                    _ => at <= limit,
                }
            }
        }
    }
}

/// Every word of the query is a word of the text.
fn contains(text: &str, query: &str) -> bool {
    let split = |s: &str| -> Vec<String> {
        s.to_lowercase()
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'))
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let words = split(text);
    split(query).iter().all(|wanted| match wanted.strip_suffix('*') {
        Some(beginning) => words.iter().any(|word| word.starts_with(beginning)),
        None => words.contains(wanted),
    })
}

/// `-7d`, `-12h`, `-30m`, `-2w`, `2026-11-21`, `2026/11/21 10:30`.
fn moment(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Some(ago) = text.strip_prefix('-') {
        let (number, unit) = ago.split_at(ago.len().checked_sub(1)?);
        let number: i64 = number.parse().ok()?;
        let span = match unit {
            "w" => TimeDelta::weeks(number),
            "d" => TimeDelta::days(number),
            "h" => TimeDelta::hours(number),
            "m" => TimeDelta::minutes(number),
            _ => return None,
        };
        return Some(now - span);
    }
    let text = text.replace('/', "-");
    let day = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M").ok().or_else(day).map(|time| time.and_utc())
}

fn tokens(jql: &str) -> Result<Vec<Token>, String> {
    const SIGNS: [&str; 11] = ["!=", "!~", ">=", "<=", "=", "~", ">", "<", "(", ")", ","];
    let mut found = Vec::new();
    let mut rest = jql.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            let mut value = String::new();
            let mut chars = rest.char_indices().skip(1);
            let end = loop {
                match chars.next() {
                    None => return Err("Error in the JQL Query: The quoted string has not been completed.".into()),
                    Some((at, c)) if c == first => break at + 1,
                    Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                    Some((_, c)) => value.push(c),
                }
            };
            found.push(Token::Quoted(value));
            rest = &rest[end..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "=!~<>(),\"'".contains(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("Error in the JQL Query: The character '{first}' is a reserved JQL character."));
            }
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn peek_word(&self, word: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let there = self.peek_word(word);
        self.at += usize::from(there);
        there
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let there = matches!(self.tokens.get(self.at), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(there);
        there
    }

    fn any_of(&mut self) -> Result<Condition, String> {
        let mut any = vec![self.all_of()?];
        while self.take_word("or") {
            any.push(self.all_of()?);
        }
        Ok(if any.len() == 1 { any.swap_remove(0) } else { Condition::Or(any) })
    }

    fn all_of(&mut self) -> Result<Condition, String> {
        let mut all = vec![self.one()?];
        while self.take_word("and") {
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 { all.swap_remove(0) } else { Condition::And(all) })
    }

    fn one(&mut self) -> Result<Condition, String> {
        if self.take_word("not") {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.take_sign("(") {
            let inner = self.any_of()?;
            return if self.take_sign(")") { Ok(inner) } else { Err("Error in the JQL Query: Expecting ')'.".into()) };
        }
        let name = match self.next() {
            Some(Token::Word(name) | Token::Quoted(name)) => name,
            other => return Err(format!("Error in the JQL Query: Expecting a field name but got {other:?}.")),
        };
        let field = Field::named(&name)?;
        let op = self.operator(&name)?;
        if !field.allows(op) {
            return Err(format!("The operator is not supported by the '{name}' field."));
        }
        let values = if matches!(op, Op::In | Op::NotIn) { self.list()? } else { vec![self.value()?] };
        if matches!(field, Field::Created | Field::Updated) {
            for value in &values {
                moment(value, Utc::now()).ok_or(format!("Date value '{value}' for field '{name}' is invalid."))?;
            }
        }
        Ok(Condition::Clause { field, op, values })
    }

    fn operator(&mut self, field: &str) -> Result<Op, String> {
        Ok(match self.next() {
            Some(Token::Sign("=")) => Op::Is,
            Some(Token::Sign("!=")) => Op::IsNot,
            Some(Token::Sign("~")) => Op::Contains,
            Some(Token::Sign("!~")) => Op::ContainsNot,
            Some(Token::Sign(">")) => Op::After,
            Some(Token::Sign(">=")) => Op::NotBefore,
            Some(Token::Sign("<")) => Op::Before,
            Some(Token::Sign("<=")) => Op::NotAfter,
            Some(Token::Word(w)) if w.eq_ignore_ascii_case("in") => Op::In,
            Some(Token::Word(w)) if w.eq_ignore_ascii_case("not") && self.take_word("in") => Op::NotIn,
            Some(Token::Word(w)) if w.eq_ignore_ascii_case("is") => {
                if self.take_word("not") {
                    Op::IsNot
                } else {
                    Op::Is
                }
            }
            other => {
                return Err(format!("Error in the JQL Query: Expecting operator after '{field}' but got {other:?}."));
            }
        })
    }

    fn list(&mut self) -> Result<Vec<String>, String> {
        if !self.take_sign("(") {
            return Err("Error in the JQL Query: Expecting '(' after IN.".into());
        }
        let mut values = vec![self.value()?];
        while self.take_sign(",") {
            values.push(self.value()?);
        }
        if self.take_sign(")") { Ok(values) } else { Err("Error in the JQL Query: Expecting ',' or ')'.".into()) }
    }

    fn value(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(value) | Token::Quoted(value)) => Ok(value),
            other => Err(format!("Error in the JQL Query: Expecting a value but got {other:?}.")),
        }
    }

    fn order(&mut self) -> Result<Vec<(Field, bool)>, String> {
        let mut order = Vec::new();
        if !self.take_word("order") {
            return Ok(order);
        }
        if !self.take_word("by") {
            return Err("Error in the JQL Query: Expecting 'by' after 'order'.".into());
        }
        loop {
            let field = Field::named(&self.value()?)?;
            let descending = self.take_word("desc");
            if !descending {
                self.take_word("asc");
            }
            order.push((field, descending));
            if !self.take_sign(",") {
                return Ok(order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::jira::state::State;

    fn issues() -> Vec<Issue> {
        let mut state = State::new("http://jira.example".into(), "bot@acme.example");
        let ana = state.user("ana");
        ["Cart total is wrong", "Pricing page is slow", "Totals of the cart export"]
            .into_iter()
            .enumerate()
            .map(|(n, summary)| {
                let at = state.tick();
                Issue {
                    id: state.id(),
                    key: format!("SHOP-{}", n + 1),
                    summary: summary.into(),
                    description: serde_json::Value::Null,
                    labels: if n == 1 { vec![] } else { vec!["AI".into()] },
                    priority: "High".into(),
                    issue_type: "Bug".into(),
                    status: if n == 2 { "Done".into() } else { "To Do".into() },
                    reporter: ana.clone(),
                    comments: vec![],
                    properties: BTreeMap::default(),
                    remote_links: vec![],
                    links: vec![],
                    history: vec![],
                    created: at,
                    updated: at,
                }
            })
            .collect()
    }

    fn found(jql: &str) -> Vec<u64> {
        let issues = issues();
        let query = Query::parse(jql).unwrap_or_else(|error| panic!("{jql}: {error}"));
        query.select(issues.iter(), Utc::now()).iter().map(|issue| issue.number()).collect()
    }

    #[test]
    fn finds_what_jira_would_find() {
        assert_eq!(found("project = SHOP ORDER BY key"), [1, 2, 3]);
        assert_eq!(found("project = shop and labels = AI"), [3, 1]);
        assert_eq!(found("labels = ai AND status != Done"), [1]);
        assert_eq!(found("key in (SHOP-1, 'SHOP-2') order by created asc"), [1, 2]);
        assert_eq!(found("summary ~ \"cart total\""), [1]);
        assert_eq!(found("text ~ \"cart total*\" ORDER BY updated DESC, key"), [3, 1]);
        assert_eq!(found("(status = Done OR labels is EMPTY) AND updated >= -1d"), [3, 2]);
        assert_eq!(
            found("NOT status = Done AND project = SHOP AND updated >= \"2199-01-01 10:00\""),
            Vec::<u64>::new()
        );
        assert_eq!(found("statusCategory = \"To Do\" AND priority not in (Low)"), [2, 1]);
    }

    #[test]
    fn refuses_what_it_or_jira_cannot_answer() {
        let cases = [
            ("", "Unbounded"),
            ("ORDER BY created", "Unbounded"),
            ("sprint = 4", "'sprint' does not exist"),
            ("summary = x", "not supported by the 'summary'"),
            ("labels ~ x", "not supported by the 'labels'"),
            ("project = SHOP labels = AI", "Expecting either 'OR' or 'AND'"),
            ("project =", "Expecting a value"),
            ("labels = \"AI", "has not been completed"),
            ("updated >= yesterday", "Date value 'yesterday'"),
            ("issue.property[x].y = 1", "does not exist"),
        ];
        for (jql, expected) in cases {
            let error = Query::parse(jql).expect_err(jql);
            assert!(error.contains(expected), "{jql}: {error}");
        }
        let query = Query::parse("project = SHOP AND (key = A-1 OR NOT key in (B-2))").expect("query");
        assert_eq!(query.names().len(), 3);
    }
}
