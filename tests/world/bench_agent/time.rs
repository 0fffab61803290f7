//! Milliseconds per turn without work: one model turn and one tool call, two activities. The agent and the bare workflow take
//! turns in one run on one server, so that what the machine does beside them meets both.

use std::time::Instant;

use temporalio_client::{Client, WorkflowGetResultOptions, WorkflowStartOptions};
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use temporalio_sdk::WorkerOptions;
use workflows::agent_run::AgentWorkflow;
use workflows::contract::agent::AgentEnd;
use workflows::contract::{MODEL_QUEUE, QUEUE};

use crate::bare::BareWorkflow;
use crate::chain;
use crate::no_op::{NoOpModel, NoOpTools};
use crate::rig::Rig;
use crate::table::{Report, median};

/// Turns of a run: within the planning agent's limit.
const TURNS: u32 = 34;
/// Runs of each kind per round: together 102 turns.
const RUNS: u32 = 3;
/// The most a turn of the agent may take, as a multiple of the bare one.
const BAR: f64 = 1.3;

pub(crate) async fn measure(rig: &Rig, rounds: u32, report: &mut Report) -> anyhow::Result<()> {
    let observer = rig.namespace("bench-time").await?;
    let client = observer.client();
    let workflows = WorkerOptions::new(QUEUE)
        .register_workflow::<AgentWorkflow>()?
        .register_workflow::<BareWorkflow>()?
        .register_activities(NoOpTools)
        .build();
    let model = NoOpModel { turns: TURNS, answer: chain::plan()? };
    let model = WorkerOptions::new(MODEL_QUEUE).register_activities(model).build();
    let serving = rig.serve(client, vec![workflows, model])?;

    report.line(&format!("Time of a turn without work, {} turns of each kind a round", TURNS * RUNS))?;
    report.line("  round     agent      bare   ratio")?;
    // A fresh server's caches are not what is measured.
    agent(client, "warm").await?;
    bare(client, "warm").await?;
    let (mut agents, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (mut of_agent, mut of_bare) = (0.0, 0.0);
        for run in 0..RUNS {
            let name = format!("{round}-{run}");
            // Neither kind always comes first.
            if (round + run) % 2 == 0 {
                of_agent += agent(client, &name).await?;
                of_bare += bare(client, &name).await?;
            } else {
                of_bare += bare(client, &name).await?;
                of_agent += agent(client, &name).await?;
            }
        }
        let turns = f64::from(TURNS * RUNS);
        let (agent, bare) = (of_agent / turns, of_bare / turns);
        report.line(&format!("  {round:>5} {agent:6.1} ms {bare:6.1} ms   {:5.3}", agent / bare))?;
        agents.push(agent);
        bares.push(bare);
        ratios.push(agent / bare);
    }
    serving.stop().await?;
    let (agent, bare) = (median(agents), median(bares));
    report.line(&format!("  median {agent:5.1} ms {bare:6.1} ms   {:5.3} (of the rounds' ratios)", median(ratios)))?;
    report.bar("a turn, agent to bare, ratio of medians", agent / bare, BAR)
}

/// Milliseconds of one run of the agent.
async fn agent(client: &Client, name: &str) -> anyhow::Result<f64> {
    let input = RawValue::from_value(&chain::input()?, &PayloadConverter::default());
    let began = Instant::now();
    let options = WorkflowStartOptions::new(QUEUE, format!("agent-{name}")).build();
    let handle = client.start_workflow(AgentWorkflow::run, input, options).await?;
    let result = handle.get_result(WorkflowGetResultOptions::default()).await?;
    let took = began.elapsed();
    anyhow::ensure!(
        result.turns == TURNS && matches!(result.end, AgentEnd::Answered(_)),
        "the agent ended after {} turns: {:?}",
        result.turns,
        result.end
    );
    Ok(took.as_secs_f64() * 1000.0)
}

/// Milliseconds of one run of the bare workflow.
async fn bare(client: &Client, name: &str) -> anyhow::Result<f64> {
    let input = chain::input()?;
    let began = Instant::now();
    let options = WorkflowStartOptions::new(QUEUE, format!("bare-{name}")).build();
    let handle = client.start_workflow(BareWorkflow::run, input, options).await?;
    let turns = handle.get_result(WorkflowGetResultOptions::default()).await?;
    let took = began.elapsed();
    anyhow::ensure!(turns == TURNS, "the bare workflow took {turns} turns");
    Ok(took.as_secs_f64() * 1000.0)
}
