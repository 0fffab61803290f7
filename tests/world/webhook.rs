//! Signed webhook delivery to the product's ingress, with a log of what was sent and what came back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;

/// One delivery and the answer it got.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// Which stand-in sent it.
    pub service: &'static str,
    /// Full URL it was posted to.
    pub url: String,
    /// Header names and values as sent, signature included.
    pub headers: Vec<(String, String)>,
    /// Raw body, exactly the bytes that were signed.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// HTTP status of the answer; 0 when nobody answered.
    pub status: u16,
    /// Body of the answer.
    pub answer: String,
    /// From the last attempt's beginning to its answer.
    pub took: Duration,
}

/// Posts webhooks and remembers them. Cloning shares the log. Deliveries are sent one after the other per call.
#[derive(Debug, Clone)]
pub struct Webhooks {
    http: reqwest::Client,
    /// Base URL of the ingress; `None` until it is known (deliveries then wait for it).
    target: tokio::sync::watch::Sender<Option<String>>,
    log: Arc<Mutex<Vec<Delivery>>>,
}

impl Default for Webhooks {
    fn default() -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("http client");
        Self { http, target: tokio::sync::watch::Sender::new(None), log: Arc::default() }
    }
}

impl Webhooks {
    /// Tells the stand-ins where the ingress listens.
    pub fn set_target(&self, base_url: impl Into<String>) {
        self.target.send_replace(Some(base_url.into()));
    }

    /// Everything delivered so far.
    pub fn log(&self) -> Vec<Delivery> {
        self.log.lock().expect("webhook log").clone()
    }

    /// Posts `body` to `path` of the ingress with the given headers and records the answer.
    /// Connection failures are retried for 60 s (the real services retry too, or the test restarts the ingress).
    pub async fn deliver(
        &self,
        service: &'static str,
        path: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    ) -> Delivery {
        let mut target = self.target.subscribe();
        let base = match target.wait_for(Option::is_some).await {
            Ok(base) => base.clone().unwrap_or_default(),
            Err(_) => String::new(),
        };
        let url = format!("{}{path}", base.trim_end_matches('/'));
        let mut delivery = Delivery {
            service,
            url: url.clone(),
            headers,
            body,
            status: 0,
            answer: String::new(),
            took: Duration::ZERO,
        };
        for attempt in 0..120 {
            let mut request = self.http.post(&url).body(delivery.body.clone());
            for (name, value) in &delivery.headers {
                request = request.header(name, value);
            }
            let began = Instant::now();
            match request.send().await {
                Ok(response) => {
                    delivery.took = began.elapsed();
                    delivery.status = response.status().as_u16();
                    delivery.answer = response.text().await.unwrap_or_default();
                    break;
                }
                Err(error) => {
                    delivery.answer = error.to_string();
                    if attempt < 119 {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                }
            }
        }
        self.log.lock().expect("webhook log").push(delivery.clone());
        delivery
    }
}

/// Lower-case hex HMAC-SHA256, the signature all four services use.
pub fn hmac_sha256_hex(secret: &str, message: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key length");
    mac.update(message);
    hex::encode(mac.finalize().into_bytes())
}
