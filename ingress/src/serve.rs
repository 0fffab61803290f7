//! Serving until told to stop: no new requests then, open ones are finished, gathered news is sent.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::app::App;

/// How long open requests may take to finish. Container platforms kill after 30 s by default.
const GRACE: Duration = Duration::from_secs(15);

/// Serves `app` until `stop` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    app: App,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stopping, mut stopped) = tokio::sync::watch::channel(());
    let router = app.router().into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        stop.await;
        tracing::info!("stopping: finishing open requests");
        drop(stopping);
    });
    let overtime = async {
        // The channel carries nothing; its end is the signal to stop.
        let _ = stopped.changed().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => result?,
        () = overtime => tracing::warn!("some requests did not finish within {GRACE:?}"),
    }
    app.dispatcher().flush().await;
    Ok(())
}
