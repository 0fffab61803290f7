//! Checks the AWS Signature Version 4 of a request by computing it again.
//!
//! Source: "Create a signed AWS API request", AWS Identity and Access Management User Guide. Written by hand on
//! purpose: the product signs with AWS's own code, so the check shares none of it.

use axum::http::HeaderMap;
use chrono::{DateTime, NaiveDateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// RFC 3986 unreserved characters stay; everything else, `%` included, is encoded (again).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// AWS accepts a clock difference of five minutes.
const MAX_SKEW_SECONDS: i64 = 300;

/// The request as it came over the wire.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    pub method: &'a str,
    /// Percent-encoded path, exactly as sent.
    pub path: &'a str,
    /// Query without `?`.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// Why a request is not let in: AWS's error type and the message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub kind: &'static str,
    pub message: String,
}

fn refuse<T>(kind: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { kind, message: message.into() })
}

/// Checks key id, time, scope (service `bedrock`) and signature.
pub(super) fn verify(key_id: &str, secret: &str, request: &Signed<'_>, now: DateTime<Utc>) -> Result<(), Refusal> {
    let Some(authorization) = header(request.headers, "authorization") else {
        return refuse("MissingAuthenticationTokenException", "Missing Authentication Token");
    };
    let Some(fields) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") else {
        return refuse("IncompleteSignatureException", "Authorization header requires 'AWS4-HMAC-SHA256'.");
    };
    let field = |name: &str| fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let (Some(credential), Some(signed_headers), Some(signature)) =
        (field("Credential"), field("SignedHeaders"), field("Signature"))
    else {
        return refuse(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters.",
        );
    };
    let scope: Vec<&str> = credential.split('/').collect();
    let [id, date, region, service, "aws4_request"] = scope[..] else {
        return refuse("IncompleteSignatureException", "Credential must have 5 slash-delimited elements.");
    };
    if id != key_id {
        return refuse("UnrecognizedClientException", "The security token included in the request is invalid.");
    }
    if service != "bedrock" {
        return refuse(
            "InvalidSignatureException",
            format!("Credential should be scoped to correct service: 'bedrock', not '{service}'."),
        );
    }
    let signed_names: Vec<&str> = signed_headers.split(';').collect();
    for required in ["host", "x-amz-date"] {
        if !signed_names.contains(&required) {
            return refuse("InvalidSignatureException", format!("'{required}' must be a signed header."));
        }
    }
    let stamp = header(request.headers, "x-amz-date").unwrap_or_default();
    let Ok(time) = NaiveDateTime::parse_from_str(&stamp, "%Y%m%dT%H%M%SZ") else {
        return refuse("IncompleteSignatureException", "X-Amz-Date must be in ISO8601 basic format.");
    };
    if (now - time.and_utc()).num_seconds().abs() > MAX_SKEW_SECONDS || !stamp.starts_with(date) {
        return refuse("InvalidSignatureException", format!("Signature expired: {stamp} is not near {now}."));
    }
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{stamp}\n{date}/{region}/{service}/aws4_request\n{}",
        sha256_hex(canonical_request(request, &signed_names).as_bytes())
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, region, service, "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    if hex::encode(hmac(&key, to_sign.as_bytes())) == signature {
        return Ok(());
    }
    refuse(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method.",
    )
}

fn canonical_request(request: &Signed<'_>, signed_names: &[&str]) -> String {
    let path: Vec<String> =
        request.path.split('/').map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect();
    let mut query: Vec<&str> = request.query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    let headers: String = signed_names
        .iter()
        .map(|name| format!("{name}:{}\n", header(request.headers, name).unwrap_or_default()))
        .collect();
    // Bedrock, unlike S3, always hashes the body itself; a header that claims another hash changes nothing.
    format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        request.method,
        path.join("/"),
        query.join("&"),
        signed_names.join(";"),
        sha256_hex(request.body)
    )
}

/// All values of a header, joined by commas, inner spaces folded, as the canonical form wants them.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use aws_sdk_bedrockruntime::config::Credentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const PATH: &str = "/bedrock/model/us.anthropic.claude-sonnet-4-v1%3A0/converse-stream";

    /// Signs with AWS's own crate, as the product's SDK does.
    fn signed(secret: &str, service: &str, body: &[u8]) -> HeaderMap {
        let identity = Credentials::new("AKID", secret, None, None, "test").into();
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .expect("complete parameters")
            .into();
        let url = format!("http://127.0.0.1:4300{PATH}");
        let given = [("host", "127.0.0.1:4300"), ("content-type", "application/json")];
        let request = SignableRequest::new("POST", &url, given.into_iter(), SignableBody::Bytes(body)).expect("url");
        let (instructions, _) = sign(request, &params).expect("signature").into_parts();
        let mut headers = HeaderMap::new();
        for (name, value) in given.into_iter().chain(instructions.headers()) {
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).expect("header name"),
                HeaderValue::from_str(value).expect("header value"),
            );
        }
        headers
    }

    fn check(headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
        let request = Signed { method: "POST", path: PATH, query: "", headers, body };
        verify("AKID", "secret", &request, Utc::now()).map_err(|refusal| refusal.kind)
    }

    #[test]
    fn accepts_what_aws_code_signed() {
        assert_eq!(check(&signed("secret", "bedrock", b"{}"), b"{}"), Ok(()));
    }

    #[test]
    fn refuses_another_secret_body_service_time_or_none_at_all() {
        assert_eq!(check(&signed("other", "bedrock", b"{}"), b"{}"), Err("InvalidSignatureException"));
        assert_eq!(check(&signed("secret", "bedrock", b"{}"), b"{ }"), Err("InvalidSignatureException"));
        assert_eq!(check(&signed("secret", "s3", b"{}"), b"{}"), Err("InvalidSignatureException"));
        assert_eq!(check(&HeaderMap::new(), b"{}"), Err("MissingAuthenticationTokenException"));
        let headers = signed("secret", "bedrock", b"{}");
        let request = Signed { method: "POST", path: PATH, query: "", headers: &headers, body: b"{}" };
        let late = verify("AKID", "secret", &request, Utc::now() + chrono::TimeDelta::minutes(6));
        assert_eq!(late.map_err(|refusal| refusal.kind), Err("InvalidSignatureException"));
        let stranger = verify("AKOTHER", "secret", &request, Utc::now());
        assert_eq!(stranger.map_err(|refusal| refusal.kind), Err("UnrecognizedClientException"));
    }
}
