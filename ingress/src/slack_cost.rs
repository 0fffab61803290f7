//! `/agent cost`: what a ticket cost, as a table for one person in Slack.

use workflows::contract::ids::TicketKey;
use workflows::contract::money::Usage;
use workflows::contract::status::{CostLine, CostReport};
use workflows::messages::counted;
use workflows::messages::slack::{date, escape};

/// Runs that are shown, the newest ones; the others are summed.
const ROWS: usize = 15;
/// Extensions that are shown, the newest ones.
const EXTENSIONS: usize = 5;

/// The sums, a table with one row per run of an agent, and who added money.
pub(crate) fn table(ticket: &TicketKey, report: &CostReport) -> String {
    let usd = &report.usd;
    let held = if report.leased.0 > 0 { format!(", {} held by agents at work", usd.leased) } else { String::new() };
    let mut lines = vec![format!("*{ticket}* · {} of {}{held}, {} free", usd.spent, usd.cap, usd.free)];
    let hidden = report.agents.len().saturating_sub(ROWS);
    let (older, shown) = report.agents.split_at(hidden);
    let mut rows: Vec<[String; 5]> = shown.iter().map(row).collect();
    let earlier = older.iter().fold(report.earlier.clone().unwrap_or_default(), |mut sum, line| {
        sum.add(line);
        sum
    });
    if earlier.runs > 0 {
        let name = counted(earlier.runs as usize, "earlier run", "earlier runs");
        rows.insert(0, cells(name, earlier.turns, &earlier.usage, earlier.spent.to_string()));
    }
    if rows.is_empty() {
        lines.push("No agent has worked on it yet.".to_owned());
    } else {
        rows.insert(0, ["agent", "turns", "tokens in", "out", "cost"].map(str::to_owned));
        lines.push(format!("```\n{}\n```", aligned(&rows)));
    }
    let skip = report.extensions.len().saturating_sub(EXTENSIONS);
    for extension in &report.extensions[skip..] {
        lines.push(format!("{} more by {}, {}", extension.usd, escape(&extension.by), date(extension.at)));
    }
    lines.join("\n")
}

fn row(line: &CostLine) -> [String; 5] {
    let place = line.repository.as_ref().map_or_else(String::new, |repository| format!(" {}", repository.name()));
    let task = line.task.map_or_else(String::new, |task| format!(" task {task}"));
    let running = if line.running { " (at work)" } else { "" };
    let name = format!("{}{place}{task}{running}", line.agent);
    cells(name, line.turns, &line.usage, line.usd.clone())
}

fn cells(name: String, turns: u32, usage: &Usage, usd: String) -> [String; 5] {
    [name, turns.to_string(), thousands(usage.prompt()), thousands(usage.output), usd]
}

/// `950`, `12k`, `1.2M`.
fn thousands(tokens: u64) -> String {
    match tokens {
        0..1_000 => tokens.to_string(),
        1_000..1_000_000 => format!("{}k", (tokens + 500) / 1_000),
        _ => format!("{}.{}M", tokens / 1_000_000, tokens % 1_000_000 / 100_000),
    }
}

/// Columns under each other: the first to the left, numbers to the right.
fn aligned(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [0, 1, 2, 3, 4].map(width);
    let line = |row: &[String; 5]| {
        let [name, numbers @ ..] = row;
        let mut line = format!("{name:<0$}", widths[0]);
        for (number, width) in numbers.iter().zip(&widths[1..]) {
            line.push_str(&format!("  {number:>width$}"));
        }
        line
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use workflows::contract::agent::AgentName;
    use workflows::contract::money::MicroUsd;
    use workflows::contract::status::{CostTexts, EarlierCost, Extension};

    use super::*;

    fn line(n: u64, agent: AgentName, running: bool) -> CostLine {
        let spent = MicroUsd(n * 1_000);
        CostLine {
            id: format!("ticket-SHOP-1/{agent}/{n}"),
            agent,
            repository: (agent == AgentName::Execution).then(|| "acme/shop-api".parse().unwrap()),
            task: (agent == AgentName::Execution).then_some(2),
            turns: 3,
            usage: Usage { input: 900, output: 420, cache_read: 11_000, cache_write: 100 },
            spent,
            usd: spent.to_string(),
            running,
        }
    }

    fn report(agents: Vec<CostLine>) -> CostReport {
        let text = |usd: &str| usd.to_owned();
        let usd = CostTexts { cap: text("$17.00"), spent: text("$0.090"), leased: text("$5.00"), free: text("$11.91") };
        let extension = Extension {
            by: "Ana (Slack)".into(),
            amount: MicroUsd::dollars(5),
            usd: "$5.00".into(),
            at: 1_795_330_157,
        };
        let leased = MicroUsd::dollars(5);
        CostReport { leased, usd, agents, extensions: vec![extension], ..CostReport::default() }
    }

    #[test]
    fn a_table_shows_each_run_and_who_added_money() {
        let key: TicketKey = "SHOP-1".parse().unwrap();
        let agents = vec![line(2, AgentName::Planning, false), line(88, AgentName::Execution, true)];
        let text = table(&key, &report(agents));
        assert_eq!(
            text,
            "*SHOP-1* · $0.090 of $17.00, $5.00 held by agents at work, $11.91 free\n\
             ```\n\
             agent                                turns  tokens in  out    cost\n\
             planning                                 3        12k  420  $0.002\n\
             execution shop-api task 2 (at work)      3        12k  420  $0.088\n\
             ```\n\
             $5.00 more by Ana (Slack), <!date^1795330157^{date_short_pretty} {time}|2026-11-22 06:49 UTC>"
        );
        let none = table(&key, &CostReport::default());
        assert!(none.ends_with("No agent has worked on it yet."), "{none}");
    }

    #[test]
    fn many_runs_fit_into_one_message() {
        let key: TicketKey = "SHOP-1".parse().unwrap();
        let mut report = report((1..=200).map(|n| line(n, AgentName::Execution, false)).collect());
        let spent = MicroUsd::dollars(2);
        report.earlier = Some(EarlierCost { runs: 10, turns: 30, usage: Usage::default(), spent, usd: "$2.00".into() });
        let text = table(&key, &report);
        assert!(text.contains("195 earlier runs") && text.chars().count() < 2_800, "{text}");
        assert_eq!(
            (thousands(999), thousands(12_400), thousands(1_250_000)),
            ("999".into(), "12k".into(), "1.2M".into())
        );
    }
}
