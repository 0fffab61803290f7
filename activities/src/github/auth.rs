//! Who we are at GitHub: a token, or an App whose tokens last an hour and are made when needed
//! (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>).

use octocrab::models::{AppId, InstallationId};
use octocrab::service::middleware::retry::RetryConfig;
use octocrab::{NoAuth, NoSvc, NotLayerReady, Octocrab, OctocrabBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::OnceCell;
use workflows::contract::failure::FailureKind;
use workflows::contract::ids::RepositoryName;

use super::answer::{Answer, exchange, transport, within_time};
use super::client::Settings;
use super::read::encoded;
use crate::failure::ServiceError;
use crate::http::TIMEOUT;

/// How we prove who we are.
#[derive(Debug, Clone)]
pub enum GitHubAuth {
    /// A token of the bot's account.
    Token(SecretString),
    /// A GitHub App.
    App(AppKey),
}

/// A GitHub App's identity.
#[derive(Debug, Clone)]
pub struct AppKey {
    /// App id.
    pub id: u64,
    /// Private key, PEM.
    pub private_key: SecretString,
    /// Installation in the organisation. `None`: the one in [`Settings::organisation`] is looked up.
    pub installation: Option<u64>,
}

/// An identity with its connection to the REST API.
pub(super) enum Login {
    Token { rest: Box<Octocrab>, token: SecretString },
    App(Box<AppLogin>),
}

pub(super) struct AppLogin {
    /// Speaks as the App itself; may only ask about the App.
    app: Octocrab,
    organisation: String,
    known: Option<u64>,
    /// Id and connection of the installation. The connection keeps its token until shortly before it expires.
    installed: OnceCell<(InstallationId, Octocrab)>,
}

impl Login {
    pub(super) fn new(settings: &Settings, auth: &GitHubAuth) -> Result<Self, ServiceError> {
        let failed = |error| transport("connect", error);
        match auth {
            GitHubAuth::Token(token) => {
                let rest = builder(&settings.api_url)?.personal_token(token.clone()).build().map_err(failed)?;
                Ok(Self::Token { rest: Box::new(rest), token: token.clone() })
            }
            GitHubAuth::App(app) => Ok(Self::App(Box::new(AppLogin {
                app: builder(&settings.api_url)?.app(AppId(app.id), key_of(app)?).build().map_err(failed)?,
                organisation: settings.organisation.clone(),
                known: app.installation,
                installed: OnceCell::new(),
            }))),
        }
    }

    /// The connection for everything but questions about the App itself.
    pub(super) async fn rest(&self) -> Result<&Octocrab, ServiceError> {
        match self {
            Self::Token { rest, .. } => Ok(rest),
            Self::App(login) => Ok(&login.installed().await?.1),
        }
    }

    /// A token that is good for the next minutes.
    pub(super) async fn token(&self) -> Result<SecretString, ServiceError> {
        match self {
            Self::Token { token, .. } => Ok(token.clone()),
            Self::App(login) => {
                let (_, rest) = login.installed().await?;
                within_time("make a token", rest.installation_token()).await
            }
        }
    }

    /// A new token for one repository: an App's reaches no other one, and lives for an hour.
    pub(super) async fn token_for(&self, repository: &RepositoryName) -> Result<SecretString, ServiceError> {
        match self {
            Self::Token { token, .. } => Ok(token.clone()),
            Self::App(login) => {
                let doing = format!("make a token for {repository}");
                let (id, _) = login.installed().await?;
                let scoped = login.app.installation_builder(*id).repositories(vec![repository.name().to_owned()]);
                let scoped = scoped.build().map_err(|error| transport(&doing, error))?;
                within_time(&doing, scoped.installation_token()).await
            }
        }
    }

    /// Login of the token's user, or the App's slug.
    pub(super) async fn name(&self) -> Result<String, ServiceError> {
        #[derive(Deserialize)]
        struct User {
            login: String,
        }
        #[derive(Deserialize)]
        struct App {
            slug: String,
        }
        let doing = "ask who we are";
        match self {
            Self::Token { rest, .. } => Ok(exchange(doing, rest._get("/user")).await?.into::<User>(doing)?.login),
            Self::App(login) => Ok(exchange(doing, login.app._get("/app")).await?.into::<App>(doing)?.slug),
        }
    }
}

impl AppLogin {
    async fn installed(&self) -> Result<&(InstallationId, Octocrab), ServiceError> {
        let connect = async || {
            let id = InstallationId(match self.known {
                Some(id) => id,
                None => self.find().await?,
            });
            let rest = self.app.installation(id).map_err(|error| transport("use the App's installation", error))?;
            Ok((id, rest))
        };
        self.installed.get_or_try_init(connect).await
    }

    /// The App's installation in the organisation, which may also be a person's account.
    async fn find(&self) -> Result<u64, ServiceError> {
        #[derive(Deserialize)]
        struct Installation {
            id: u64,
        }
        let (doing, account) = ("find the App's installation", encoded(&self.organisation));
        let ask = async |kind: &str| -> Result<Answer, ServiceError> {
            exchange(doing, self.app._get(format!("/{kind}/{account}/installation"))).await
        };
        let mut answer = ask("orgs").await?;
        if answer.status == 404 {
            answer = ask("users").await?;
        }
        if answer.status == 404 {
            let message = format!(
                "The GitHub App is not installed at {}. Install it there, or set GITHUB_APP_INSTALLATION_ID.",
                self.organisation
            );
            return Err(ServiceError::new(FailureKind::Unauthorized, message));
        }
        Ok(answer.into::<Installation>(doing)?.id)
    }
}

/// A connection without identity.
pub(super) fn anonymous(base: &str) -> Result<Octocrab, ServiceError> {
    builder(base)?.build().map_err(|error| transport("connect", error))
}

type Builder = OctocrabBuilder<NoSvc, octocrab::DefaultOctocrabBuilderConfig, NoAuth, NotLayerReady>;

fn builder(base: &str) -> Result<Builder, ServiceError> {
    let wrong = |error| {
        let message = format!("github.api_url {base:?} is no URL");
        ServiceError::new(FailureKind::Invalid, message).caused_by(anyhow::Error::new(error))
    };
    // Octocrab would repeat POSTs by itself; Temporal owns retries.
    let builder = Octocrab::builder()
        .base_uri(base)
        .map_err(wrong)?
        .add_retry_config(RetryConfig::None)
        .set_connect_timeout(Some(TIMEOUT))
        .set_read_timeout(Some(TIMEOUT))
        .set_write_timeout(Some(TIMEOUT));
    Ok(builder)
}

fn key_of(app: &AppKey) -> Result<jsonwebtoken::EncodingKey, ServiceError> {
    jsonwebtoken::EncodingKey::from_rsa_pem(app.private_key.expose_secret().as_bytes()).map_err(|_| {
        // The library's error could quote the key.
        ServiceError::new(FailureKind::Unauthorized, "GITHUB_APP_PRIVATE_KEY is no RSA private key in PEM form")
    })
}
