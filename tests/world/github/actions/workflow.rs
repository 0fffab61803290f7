//! Workflow files: `.github/workflows/*.yml` as typed values.
//! <https://docs.github.com/en/actions/writing-workflows/workflow-syntax-for-github-actions>

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

/// A workflow file.
#[derive(Debug, Clone)]
pub(super) struct Workflow {
    pub(super) name: Option<String>,
    /// Event name to its filters (`{}` when it has none).
    pub(super) on: Map<String, Value>,
    pub(super) env: Map<String, Value>,
    pub(super) defaults: Defaults,
    /// Group and whether a new run cancels the one before.
    pub(super) concurrency: Option<(String, bool)>,
    pub(super) jobs: Vec<JobSpec>,
}

/// `defaults.run`.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    pub(super) shell: Option<String>,
    pub(super) directory: Option<String>,
}

/// The values of one copy of a job, in the order of the matrix' axes.
pub(super) type Combination = Vec<(String, Value)>;

/// One job before its matrix is unfolded.
#[derive(Debug, Clone)]
pub(super) struct JobSpec {
    pub(super) key: String,
    pub(super) name: Option<String>,
    pub(super) needs: Vec<String>,
    pub(super) condition: Option<String>,
    pub(super) env: Map<String, Value>,
    pub(super) labels: Vec<String>,
    pub(super) defaults: Defaults,
    /// One entry per copy of the job; a single empty one without matrix.
    pub(super) combinations: Vec<Combination>,
    pub(super) fail_fast: bool,
    pub(super) continue_on_error: bool,
    pub(super) timeout_minutes: Option<u64>,
    pub(super) outputs: Map<String, Value>,
    pub(super) steps: Vec<StepSpec>,
    /// What the runner cannot do; the job fails with these words.
    pub(super) unsupported: Option<String>,
}

/// One step.
#[derive(Debug, Clone)]
pub(super) struct StepSpec {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) condition: Option<String>,
    pub(super) what: What,
    pub(super) env: Map<String, Value>,
    pub(super) directory: Option<String>,
    pub(super) shell: Option<String>,
    pub(super) continue_on_error: bool,
    pub(super) timeout_minutes: Option<u64>,
}

/// A command or an action.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// `run:`
    Run(String),
    /// `uses:` with its inputs.
    Uses(String, Map<String, Value>),
}

impl Workflow {
    /// Reads a file. Errors are worded for the person who wrote it.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).context("not valid YAML")?;
        let root = object(&plain(yaml.clone())).context("a workflow is a mapping")?;
        // A YAML 1.1 reader takes the key `on` for the truth value.
        let on = root.get("on").or_else(|| root.get("true")).context("`on` is missing")?;
        let on = match on {
            Value::String(event) => Map::from_iter([(event.clone(), json!({}))]),
            Value::Array(events) => {
                events.iter().filter_map(Value::as_str).map(|event| (event.to_owned(), json!({}))).collect()
            }
            Value::Object(events) => {
                events.iter().map(|(k, v)| (k.clone(), if v.is_null() { json!({}) } else { v.clone() })).collect()
            }
            _ => bail!("`on` is neither a name, a list nor a mapping"),
        };
        let concurrency = match root.get("concurrency") {
            Some(Value::String(group)) => Some((group.clone(), false)),
            Some(Value::Object(fields)) => Some((
                text_of(fields.get("group")).unwrap_or_default(),
                fields.get("cancel-in-progress") == Some(&json!(true)),
            )),
            _ => None,
        };
        let defaults = Defaults::of(root.get("defaults"));
        let jobs = root.get("jobs").and_then(object).filter(|jobs| !jobs.is_empty()).context("`jobs` is missing")?;
        let job = |key: String| {
            let axes = keys(&yaml["jobs"][key.as_str()]["strategy"]["matrix"]);
            JobSpec::of(&key, jobs.get(&key).unwrap_or(&Value::Null), &axes).with_context(|| format!("job `{key}`"))
        };
        let jobs: anyhow::Result<Vec<JobSpec>> = keys(&yaml["jobs"]).into_iter().map(job).collect();
        let jobs = jobs?;
        for job in &jobs {
            if let Some(missing) = job.needs.iter().find(|need| !jobs.iter().any(|other| other.key == **need)) {
                bail!("job `{}` needs `{missing}`, which is not in this workflow", job.key);
            }
        }
        if let Some(key) = in_a_circle(&jobs) {
            bail!("job `{key}` waits for itself by what it `needs`");
        }
        Ok(Self { name: text_of(root.get("name")), on, env: env_of(root.get("env")), defaults, concurrency, jobs })
    }
}

impl Defaults {
    fn of(value: Option<&Value>) -> Self {
        let run = value.and_then(|value| value.get("run"));
        let text = |field: &str| text_of(run.and_then(|run| run.get(field)));
        Self { shell: text("shell"), directory: text("working-directory") }
    }
}

impl JobSpec {
    fn of(key: &str, value: &Value, axes: &[String]) -> anyhow::Result<Self> {
        let job = object(value).context("is not a mapping")?;
        let steps = job.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
        let steps: anyhow::Result<Vec<StepSpec>> = steps.iter().map(StepSpec::of).collect();
        let strategy = job.get("strategy").cloned().unwrap_or_default();
        let mut unsupported = ["container", "services", "uses"]
            .iter()
            .find(|field| job.contains_key(**field))
            .map(|field| format!("This runner cannot do jobs with `{field}`."));
        let combinations = match strategy.get("matrix") {
            None => vec![Vec::new()],
            Some(Value::Object(matrix)) => unfold(matrix, axes)?,
            Some(_) => {
                unsupported = Some("This runner cannot do a `matrix` made by an expression.".into());
                vec![Vec::new()]
            }
        };
        Ok(Self {
            key: key.to_owned(),
            name: text_of(job.get("name")),
            needs: texts(job.get("needs")),
            condition: text_of(job.get("if")),
            env: env_of(job.get("env")),
            labels: texts(job.get("runs-on")),
            defaults: Defaults::of(job.get("defaults")),
            combinations,
            fail_fast: strategy.get("fail-fast") != Some(&json!(false)),
            continue_on_error: job.get("continue-on-error") == Some(&json!(true)),
            timeout_minutes: job.get("timeout-minutes").and_then(Value::as_u64),
            outputs: env_of(job.get("outputs")),
            steps: steps?,
            unsupported,
        })
    }

    /// Name of one copy as GitHub shows it: `test (3.12, linux)`.
    pub(super) fn title(&self, combination: &Combination) -> String {
        let base = self.name.clone().unwrap_or_else(|| self.key.clone());
        if combination.is_empty() || base.contains("${{") {
            return base;
        }
        let values: Vec<String> =
            combination.iter().map(|(_, value)| text_of(Some(value)).unwrap_or_default()).collect();
        format!("{base} ({})", values.join(", "))
    }
}

impl StepSpec {
    fn of(value: &Value) -> anyhow::Result<Self> {
        let step = object(value).context("a step is not a mapping")?;
        let what = match (text_of(step.get("run")), text_of(step.get("uses"))) {
            (Some(script), None) => What::Run(script),
            (None, Some(action)) => What::Uses(action, step.get("with").and_then(object).unwrap_or_default()),
            _ => bail!("a step needs either `run` or `uses`"),
        };
        Ok(Self {
            id: text_of(step.get("id")),
            name: text_of(step.get("name")),
            condition: text_of(step.get("if")),
            what,
            env: env_of(step.get("env")),
            directory: text_of(step.get("working-directory")),
            shell: text_of(step.get("shell")),
            continue_on_error: step.get("continue-on-error") == Some(&json!(true)),
            timeout_minutes: step.get("timeout-minutes").and_then(Value::as_u64),
        })
    }

    /// Name as GitHub shows it: the given one, or `Run <first line>`.
    pub(super) fn title(&self) -> String {
        let first = |text: &str| text.trim().lines().next().unwrap_or_default().to_owned();
        match (&self.name, &self.what) {
            (Some(name), _) => name.clone(),
            (None, What::Run(script)) => format!("Run {}", first(script)),
            (None, What::Uses(action, _)) => format!("Run {action}"),
        }
    }
}

/// The first job that no order lets begin. GitHub refuses such a file as a whole: no job of it gets a check.
fn in_a_circle(jobs: &[JobSpec]) -> Option<&str> {
    let mut ordered: Vec<&str> = Vec::new();
    loop {
        let left = || jobs.iter().filter(|job| !ordered.contains(&job.key.as_str()));
        match left().find(|job| job.needs.iter().all(|need| ordered.contains(&need.as_str()))) {
            Some(job) => ordered.push(&job.key),
            None => return left().next().map(|job| job.key.as_str()),
        }
    }
}

/// Names of a mapping in the order of the file.
fn keys(yaml: &serde_yaml_ng::Value) -> Vec<String> {
    let names = yaml.as_mapping().into_iter().flatten().map(|(name, _)| plain(name.clone()));
    names.filter_map(|name| text_of(Some(&name))).collect()
}

/// All combinations of a matrix in the order of its axes, with `exclude` and `include` applied.
fn unfold(matrix: &Map<String, Value>, axes: &[String]) -> anyhow::Result<Vec<Combination>> {
    let mut all = vec![Combination::new()];
    for axis in axes.iter().filter(|axis| *axis != "include" && *axis != "exclude") {
        let values = matrix.get(axis).and_then(Value::as_array);
        let values = values.with_context(|| format!("matrix.{axis} is not a list"))?;
        let extend = |combination: &Combination| -> Vec<Combination> {
            let with = |value: &Value| [combination.clone(), vec![(axis.clone(), value.clone())]].concat();
            values.iter().map(with).collect()
        };
        all = all.iter().flat_map(extend).collect();
    }
    let list = |field: &str| -> Vec<Map<String, Value>> {
        matrix.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(object).collect()
    };
    let has = |combination: &Combination, key: &String, value: &Value| {
        combination.iter().any(|(name, own)| name == key && own == value)
    };
    let excluded = list("exclude");
    all.retain(|one| !excluded.iter().any(|part| part.iter().all(|(key, value)| has(one, key, value))));
    if matrix.contains_key("include") && axes.iter().all(|axis| axis == "include" || axis == "exclude") {
        all.clear();
    }
    let originals = all.len();
    for extra in list("include") {
        let mut added = false;
        // An entry joins the combinations of the axes it agrees with; else it is a combination of its own.
        for combination in &mut all[..originals] {
            let agrees = extra.iter().all(|(key, value)| !matrix.contains_key(key) || has(combination, key, value));
            if agrees {
                added = true;
                let new = extra.iter().filter(|(key, _)| !matrix.contains_key(*key));
                combination.extend(new.map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        if !added {
            let mut own: Combination = extra.into_iter().collect();
            own.sort_by_key(|(key, _)| axes.iter().position(|axis| axis == key).unwrap_or(usize::MAX));
            all.push(own);
        }
    }
    Ok(all)
}

/// YAML as JSON; keys become text.
fn plain(yaml: serde_yaml_ng::Value) -> Value {
    use serde_yaml_ng::Value as Yaml;
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => json!(whole),
            (None, Some(float)) => json!(float),
            (None, None) => Value::Null,
        },
        Yaml::String(text) => json!(text),
        Yaml::Sequence(items) => items.into_iter().map(plain).collect(),
        Yaml::Mapping(fields) => {
            let key = |key: Yaml| text_of(Some(&plain(key))).unwrap_or_default();
            Value::Object(fields.into_iter().map(|(name, value)| (key(name), plain(value))).collect())
        }
        Yaml::Tagged(tagged) => plain(tagged.value),
    }
}

fn object(value: &Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

/// A scalar as text.
pub(super) fn text_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A scalar or a list of scalars.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(|item| text_of(Some(item))).collect(),
        other => text_of(other).into_iter().collect(),
    }
}

fn env_of(value: Option<&Value>) -> Map<String, Value> {
    let fields = value.and_then(object).unwrap_or_default();
    fields.into_iter().map(|(name, value)| (name, json!(text_of(Some(&value)).unwrap_or_default()))).collect()
}

#[cfg(test)]
mod tests {
    use super::Workflow;

    #[test]
    fn matrix_unfolds_in_order_with_exclude_and_include() -> anyhow::Result<()> {
        let workflow = Workflow::parse(
            "on: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    strategy:\n      matrix:\n        py: ['3.11', '3.12']\n        db: [a, b]\n        exclude: [{py: '3.11', db: b}]\n        include: [{py: '3.12', db: b, extra: 1}, {py: '3.13', db: c}]\n    steps: [{run: 'true'}]\n",
        )?;
        let job = &workflow.jobs[0];
        let titles: Vec<String> = job.combinations.iter().map(|combination| job.title(combination)).collect();
        assert_eq!(titles, ["test (3.11, a)", "test (3.12, a)", "test (3.12, b, 1)", "test (3.13, c)"]);
        Ok(())
    }

    #[test]
    fn unknown_needs_is_an_error() {
        let error = Workflow::parse("on: push\njobs:\n  a:\n    needs: b\n    steps: []\n").expect_err("refused");
        assert_eq!(error.to_string(), "job `a` needs `b`, which is not in this workflow");
    }

    #[test]
    fn jobs_that_wait_for_each_other_are_an_error() {
        let text = "on: push\njobs:\n  ok: {steps: []}\n  a: {needs: [ok, b], steps: []}\n  b: {needs: a, steps: []}\n";
        let error = Workflow::parse(text).expect_err("refused");
        assert_eq!(error.to_string(), "job `a` waits for itself by what it `needs`");
    }
}
