//! The expressions in `${{ }}` and `if:`.
//! <https://docs.github.com/en/actions/writing-workflows/choosing-what-your-workflow-does/evaluate-expressions-in-workflows-and-actions>

use std::cmp::Ordering;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// What expressions can see.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// `github`, `env`, `matrix`, `steps`, `needs`, `runner`, `secrets`, ...
    pub(super) contexts: Value,
    /// What came before went well.
    pub(super) success: bool,
    /// The run was cancelled.
    pub(super) cancelled: bool,
}

impl Scope {
    /// Replaces every `${{ }}` in a text.
    pub(super) fn fill(&self, text: &str) -> anyhow::Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (inside, after) =
                after.split_once("}}").with_context(|| format!("no end of the expression in {text}"))?;
            out.push_str(before);
            out.push_str(&words(&self.evaluate(inside)?));
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Decides an `if:`. Without a status function it means "and everything before went well".
    pub(super) fn holds(&self, condition: Option<&str>) -> anyhow::Result<bool> {
        let Some(condition) = condition else { return Ok(self.success && !self.cancelled) };
        let inner = condition.trim();
        let inner = inner.strip_prefix("${{").and_then(|inner| inner.strip_suffix("}}")).unwrap_or(inner);
        let own_status = ["success(", "failure(", "always(", "cancelled("].iter().any(|name| inner.contains(name));
        let value = truthy(&self.evaluate(inner)?);
        Ok(value && (own_status || self.success && !self.cancelled))
    }

    fn evaluate(&self, text: &str) -> anyhow::Result<Value> {
        let tokens = tokens(text)?;
        let mut parser = Parser { scope: self, tokens: &tokens, at: 0 };
        let value = parser.or().with_context(|| format!("expression `{}`", text.trim()))?;
        if parser.at < tokens.len() {
            bail!("expression `{}`: unexpected {:?}", text.trim(), tokens[parser.at]);
        }
        Ok(value)
    }

    fn call(&self, name: &str, arguments: &[Value]) -> anyhow::Result<Value> {
        let text = |at: usize| arguments.get(at).map(words).unwrap_or_default();
        let lower = |at: usize| text(at).to_lowercase();
        Ok(match name.to_ascii_lowercase().as_str() {
            "success" => json!(self.success && !self.cancelled),
            "failure" => json!(!self.success && !self.cancelled),
            "always" => json!(true),
            "cancelled" => json!(self.cancelled),
            "contains" => match arguments.first() {
                Some(Value::Array(items)) => json!(items.iter().any(|item| words(item).to_lowercase() == lower(1))),
                _ => json!(lower(0).contains(&lower(1))),
            },
            "startswith" => json!(lower(0).starts_with(&lower(1))),
            "endswith" => json!(lower(0).ends_with(&lower(1))),
            "format" => {
                let mut out = text(0);
                for at in 1..arguments.len() {
                    out = out.replace(&format!("{{{}}}", at - 1), &text(at));
                }
                json!(out)
            }
            "join" => {
                let items = arguments.first().and_then(Value::as_array).cloned().unwrap_or_default();
                let separator = if arguments.len() > 1 { text(1) } else { ",".into() };
                json!(items.iter().map(words).collect::<Vec<_>>().join(&separator))
            }
            "tojson" => json!(arguments.first().map(Value::to_string).unwrap_or_default()),
            "fromjson" => serde_json::from_str(&text(0)).context("fromJSON: not JSON")?,
            _ => bail!("this runner does not know the function {name}()"),
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Literal(Value),
    /// `github.ref`, a name with dots.
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 14] = ["==", "!=", "<=", ">=", "&&", "||", "!", "<", ">", "(", ")", ",", "[", "]"];

fn tokens(text: &str) -> anyhow::Result<Vec<Token>> {
    let mut list = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let mut end = 1;
            let bytes = rest.as_bytes();
            while end < bytes.len() && (bytes[end] != b'\'' || bytes.get(end + 1) == Some(&b'\'')) {
                end += if bytes[end] == b'\'' { 2 } else { 1 };
            }
            if end >= bytes.len() {
                bail!("expression `{text}`: a quote is not closed");
            }
            list.push(Token::Literal(json!(rest[1..end].replace("''", "'"))));
            rest = &rest[end + 1..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            list.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            list.push(Token::Literal(json!(rest[..end].parse::<f64>()?)));
            rest = &rest[end..];
        } else if first.is_alphabetic() || first == '_' || first == '.' {
            let name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '*');
            let end = rest.find(|c: char| !name(c)).unwrap_or(rest.len());
            list.push(match &rest[..end] {
                "true" => Token::Literal(json!(true)),
                "false" => Token::Literal(json!(false)),
                "null" => Token::Literal(Value::Null),
                name => Token::Name(name.to_owned()),
            });
            rest = &rest[end..];
        } else {
            bail!("expression `{text}`: unexpected {first}");
        }
        rest = rest.trim_start();
    }
    Ok(list)
}

struct Parser<'a> {
    scope: &'a Scope,
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> anyhow::Result<Value> {
        let mut value = self.and()?;
        while self.take("||") {
            let other = self.and()?;
            value = if truthy(&value) { value } else { other };
        }
        Ok(value)
    }

    fn and(&mut self) -> anyhow::Result<Value> {
        let mut value = self.comparison()?;
        while self.take("&&") {
            let other = self.comparison()?;
            value = if truthy(&value) { other } else { value };
        }
        Ok(value)
    }

    fn comparison(&mut self) -> anyhow::Result<Value> {
        let value = self.unary()?;
        for sign in ["==", "!=", "<=", ">=", "<", ">"] {
            if self.take(sign) {
                let other = self.unary()?;
                let (one, two) = (number(&value), number(&other));
                return Ok(json!(match sign {
                    "==" => equal(&value, &other),
                    "!=" => !equal(&value, &other),
                    "<=" => one <= two,
                    ">=" => one >= two,
                    "<" => one < two,
                    _ => one > two,
                }));
            }
        }
        Ok(value)
    }

    fn unary(&mut self) -> anyhow::Result<Value> {
        if self.take("!") {
            return Ok(json!(!truthy(&self.unary()?)));
        }
        if self.take("(") {
            let value = self.or()?;
            if !self.take(")") {
                bail!("a parenthesis is not closed");
            }
            return Ok(value);
        }
        let token = self.tokens.get(self.at).cloned().context("it ends too early")?;
        self.at += 1;
        match token {
            Token::Literal(value) => Ok(value),
            Token::Sign(sign) => bail!("unexpected {sign}"),
            Token::Name(name) if self.take("(") => {
                let mut arguments = Vec::new();
                while !self.take(")") {
                    arguments.push(self.or()?);
                    if !self.take(",") && self.tokens.get(self.at) != Some(&Token::Sign(")")) {
                        bail!("the arguments of {name}() are not closed");
                    }
                }
                self.scope.call(&name, &arguments)
            }
            Token::Name(name) => self.path(&name),
        }
    }

    /// `matrix.python`, `steps.x.outputs.y`, `matrix['python']`. What is not there is null.
    fn path(&mut self, name: &str) -> anyhow::Result<Value> {
        let mut parts = name.split('.');
        let root = parts.next().unwrap_or_default();
        let mut value =
            self.scope.contexts.get(root).cloned().with_context(|| format!("there is no context {root}"))?;
        for part in parts {
            value = value.get(part).cloned().unwrap_or_default();
        }
        while self.take("[") {
            let key = self.or()?;
            value = match (&value, key.as_f64()) {
                (Value::Array(items), Some(at)) => {
                    let at = format!("{:.0}", at.trunc()).parse::<usize>().ok();
                    at.and_then(|at| items.get(at)).cloned().unwrap_or_default()
                }
                _ => value.get(words(&key)).cloned().unwrap_or_default(),
            };
            if !self.take("]") {
                bail!("a bracket is not closed");
            }
            if let Some(Token::Name(more)) =
                self.tokens.get(self.at).filter(|t| matches!(t, Token::Name(n) if n.starts_with('.')))
            {
                self.at += 1;
                for part in more.trim_start_matches('.').split('.') {
                    value = value.get(part).cloned().unwrap_or_default();
                }
            }
        }
        Ok(value)
    }
}

/// As text in a command.
fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::String(text) if text.is_empty() => 0.0,
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::Array(_) | Value::Object(_) => f64::NAN,
    }
}

/// Loose equality: texts without regard to case, unlike types as numbers.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.to_lowercase() == other.to_lowercase(),
        (Value::Null, Value::Null) => true,
        _ => number(one).partial_cmp(&number(other)) == Some(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Scope;

    #[test]
    fn expressions_are_evaluated() -> anyhow::Result<()> {
        let contexts = json!({
            "github": {"event_name": "push", "ref": "refs/heads/main"},
            "matrix": {"python": 3.12, "os": "linux", "shards": ["a", "b"]},
            "steps": {"a": {"outputs": {"x": "1"}}},
        });
        let scope = Scope { contexts, success: false, cancelled: false };
        assert_eq!(
            scope.fill("py ${{ matrix.python }} on ${{matrix['os']}}${{ github.nothing }}")?,
            "py 3.12 on linux"
        );
        assert_eq!(scope.fill("${{ matrix.shards[1] }}${{ matrix.shards[2] }}")?, "b");
        assert_eq!(scope.fill("${{ steps.a.outputs.x == 1 && 'yes' || 'no' }}")?, "yes");
        assert!(!scope.holds(None)?);
        assert!(!scope.holds(Some("github.event_name == 'push'"))?);
        assert!(scope.holds(Some("always() && github.event_name == 'PUSH'"))?);
        assert!(scope.holds(Some("${{ failure() && !contains(github.ref, 'release') }}"))?);
        assert!(scope.fill("${{ hashFiles('x') }}").is_err());
        Ok(())
    }
}
