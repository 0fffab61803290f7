//! Where Bedrock is, and what its models cost.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use workflows::contract::money::{MicroUsd, Price};

/// How to reach Bedrock. Credentials come from the standard AWS chain: environment, profile, SSO, container or instance role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// AWS region. Default `us-east-1`.
    pub region: String,
    /// Base URL to use instead of the region's own, for a VPC endpoint or a stand-in. Default: none.
    pub endpoint_url: Option<String>,
    /// Seconds a reply may be silent before it counts as cut. Default 60.
    pub idle_seconds: u64,
    /// Guardrail that every call goes through. Default: none.
    pub guardrail: Option<Guardrail>,
}

/// A guardrail of Amazon Bedrock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guardrail {
    /// Its id or ARN.
    pub id: String,
    /// Its version: a number, or `DRAFT`.
    pub version: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { region: "us-east-1".into(), endpoint_url: None, idle_seconds: 60, guardrail: None }
    }
}

impl Settings {
    /// Longest silence of a reply.
    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds.max(1))
    }
}

/// What a model costs, in US dollars per million tokens, as the price list says it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsdPerMillion {
    /// Fresh input tokens.
    pub input: f64,
    /// Output tokens.
    pub output: f64,
    /// Input tokens read from the prompt cache.
    pub cache_read: f64,
    /// Input tokens written to the prompt cache, five minutes of life.
    pub cache_write: f64,
}

/// A price list that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// A number is not a price.
    #[error("the {token} price of model {model} is not between 0 and 10,000 USD per million tokens")]
    Absurd {
        /// Model id.
        model: String,
        /// Which of its prices.
        token: &'static str,
    },
    /// A model is used whose price nobody told us.
    #[error("model {model} has no price, so no budget can be kept")]
    Unknown {
        /// Model id.
        model: String,
    },
}

/// Prices by model id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// The built-in list, with `configured` on top of it.
    ///
    /// # Errors
    /// [`PriceError::Absurd`]: a number is negative, not a number, or over 10,000.
    pub fn with(configured: &BTreeMap<String, UsdPerMillion>) -> Result<Self, PriceError> {
        let mut prices = BTreeMap::new();
        for (model, usd) in BUILT_IN.iter().map(|(model, usd)| (*model, usd)) {
            prices.insert(model.to_owned(), usd.to_price(model)?);
        }
        for (model, usd) in configured {
            prices.insert(model.clone(), usd.to_price(model)?);
        }
        Ok(Self(prices))
    }

    /// The price of a model.
    ///
    /// # Errors
    /// [`PriceError::Unknown`].
    pub fn of(&self, model: &str) -> Result<Price, PriceError> {
        self.0.get(model).copied().ok_or_else(|| PriceError::Unknown { model: model.to_owned() })
    }
}

impl UsdPerMillion {
    fn to_price(self, model: &str) -> Result<Price, PriceError> {
        let micro =
            |usd: f64, token| micro_usd(usd).ok_or_else(|| PriceError::Absurd { model: model.to_owned(), token });
        Ok(Price {
            input: micro(self.input, "input")?,
            output: micro(self.output, "output")?,
            cache_read: micro(self.cache_read, "cache_read")?,
            cache_write: micro(self.cache_write, "cache_write")?,
        })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked just before")]
fn micro_usd(usd: f64) -> Option<MicroUsd> {
    (0.0..=10_000.0).contains(&usd).then(|| MicroUsd((usd * 1_000_000.0).round() as u64))
}

/// The models of the default policy. List prices of the regional inference profiles (`us.`), which cost 10 % more than the
/// global ones: when in doubt the dearer price keeps a budget. Source: Amazon Bedrock pricing page, Anthropic.
const BUILT_IN: [(&str, UsdPerMillion); 3] = [
    (
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        UsdPerMillion { input: 1.1, output: 5.5, cache_read: 0.11, cache_write: 1.375 },
    ),
    (
        "us.anthropic.claude-opus-4-5-20251101-v1:0",
        UsdPerMillion { input: 5.5, output: 27.5, cache_read: 0.55, cache_write: 6.875 },
    ),
    (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        UsdPerMillion { input: 3.3, output: 16.5, cache_read: 0.33, cache_write: 4.125 },
    ),
];

#[cfg(test)]
mod tests {
    use workflows::contract::policy::Policy;

    use super::*;

    #[test]
    fn every_model_of_the_default_policy_has_a_price() {
        let prices = Prices::with(&BTreeMap::new()).unwrap();
        for choice in Policy::default().models.values() {
            assert!(prices.of(&choice.id).is_ok(), "{}", choice.id);
        }
        assert_eq!(prices.of("x"), Err(PriceError::Unknown { model: "x".into() }));
    }

    #[test]
    fn a_configured_price_wins_and_an_absurd_one_is_refused() {
        let usd = UsdPerMillion { input: 0.06, output: 0.24, cache_read: 0.015, cache_write: 0.0 };
        let prices = Prices::with(&BTreeMap::from([("nova".to_owned(), usd)])).unwrap();
        assert_eq!(prices.of("nova").unwrap().input, MicroUsd(60_000));
        assert_eq!(prices.of("nova").unwrap().cache_read, MicroUsd(15_000));
        for bad in [-1.0, f64::NAN, 1e9] {
            let usd = UsdPerMillion { output: bad, ..usd };
            let error = Prices::with(&BTreeMap::from([("nova".to_owned(), usd)])).unwrap_err();
            assert_eq!(error, PriceError::Absurd { model: "nova".into(), token: "output" });
        }
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(toml::from_str::<Settings>("regoin = 'us-east-1'").is_err());
        assert_eq!(toml::from_str::<Settings>("").unwrap(), Settings::default());
    }
}
