//! A stand-in's calls as a list, so that tests can hold it against the description.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::{Description, Operation};

/// One method on one path, and what answers it.
#[derive(Debug)]
pub(crate) struct Route<S> {
    method: Method,
    /// Below the service's base, `/issue/{key}`.
    path: String,
    handler: MethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    /// Answers this call with `handler`.
    pub(crate) fn new<H: Handler<T, S>, T: 'static>(method: &Method, path: &str, handler: H) -> Self {
        let filter = MethodFilter::try_from(method.clone()).expect("axum routes this method");
        Self { method: method.clone(), path: path.to_owned(), handler: on(filter, handler) }
    }

    /// The described operation that it answers.
    pub(crate) fn operation<'d>(&self, description: &'d Description) -> Option<&'d Operation> {
        // Any value will do for a parameter.
        let parts = self.path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        description.operation(&self.method, &format!("{}{path}", description.base))
    }

    /// All of them together. A call that is not described would be refused, so it is no call at all.
    pub(crate) fn router(description: &Description, routes: Vec<Self>) -> Router<S> {
        routes.into_iter().fold(Router::new(), |router, route| {
            assert!(route.operation(description).is_some(), "{} {} is not described", route.method, route.path);
            router.route(&route.path, route.handler)
        })
    }
}
