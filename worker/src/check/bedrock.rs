//! Bedrock: credentials, prices, and with permission to spend, one token of each model.

use std::collections::BTreeSet;

use activities::model::Bedrock;

use super::{Finding, Spending};
use crate::config::Config;

const SERVICE: &str = "Bedrock";

pub(super) async fn look(config: &Config, spending: Spending) -> Finding {
    let bedrock = Bedrock::connect(&config.bedrock).await;
    let models: BTreeSet<&str> = config.policy.models.values().map(|choice| choice.id.as_str()).collect();
    let region = bedrock.region().to_owned();
    let found = match bedrock.find_credentials().await {
        Ok(end) => Finding::good(SERVICE, format!("access key ending in {end}, region {region}")),
        // A Bedrock API key takes the place of an access key.
        Err(_) if config.has_bedrock_api_key => Finding::good(SERVICE, format!("Bedrock API key, region {region}")),
        Err(error) => return Finding::bad(SERVICE, format!("region {region}")).note(format!("✗ {error}")),
    };
    let found = models.iter().filter(|model| config.prices.of(model).is_err()).fold(found, |found, model| {
        found.lacks(format!("the price of {model}"), format!("add [prices.\"{model}\"] to ticketwright.toml"))
    });
    if spending == Spending::Nothing {
        let names = models.into_iter().collect::<Vec<_>>().join(", ");
        return found
            .note(format!("Models: {names}."))
            .note("Whether they may be used shows only in a call that costs money, about $0.0001 each:")
            .note("  ticketwright check --spend");
    }
    let mut found = found;
    for model in models {
        found = match bedrock.smallest_call(model).await {
            Ok(()) => found.note(format!("{model} answers.")),
            Err(error) => found.lacks(format!("{model} cannot be used"), error.to_string()),
        };
    }
    found
}
