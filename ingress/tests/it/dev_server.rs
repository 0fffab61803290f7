//! A Temporal dev server on free ports with its data in a temporary directory, shared by the tests that run at the same
//! time. `scripts/temporal-dev-server` finds or builds the binary (`TICKETWRIGHT_TEMPORAL` names another one).

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use temporalio_client::grpc::WorkflowService;
use temporalio_client::tonic::IntoRequest;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, Url};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    CountWorkflowExecutionsRequest, GetWorkflowExecutionHistoryRequest, TerminateWorkflowExecutionRequest,
};

/// Building the server takes minutes on a fresh machine; starting it takes a second.
const START_TIMEOUT: Duration = Duration::from_secs(900);
/// How long a condition may take to come true.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server. Killed when the last test that uses it ends.
pub(crate) struct DevServer {
    address: SocketAddr,
    child: Mutex<Child>,
    _directory: tempfile::TempDir,
}

static SHARED: Mutex<Weak<DevServer>> = Mutex::new(Weak::new());

impl DevServer {
    /// The server of this moment, started if there is none.
    pub(crate) fn shared() -> Arc<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = free_address();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/temporal-dev-server");
        let child = Command::new(script)
            .args(["--headless", "--port", &address.port().to_string(), "--db"])
            .arg(directory.path().join("temporal.db"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { address, child: Mutex::new(child), _directory: directory };
        let began = Instant::now();
        // The port opens before the namespace is there; `client` waits for the rest.
        while std::net::TcpStream::connect(address).is_err() {
            let ended = server.child.lock().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the dev server ended at once: {ended:?}");
            assert!(began.elapsed() < START_TIMEOUT, "the dev server did not start within {START_TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// How to connect to it.
    pub(crate) fn connection(&self) -> ConnectionOptions {
        ConnectionOptions::new(Url::parse(&format!("http://{}", self.address)).unwrap()).identity("test").build()
    }

    /// A client of a namespace; `default` exists.
    pub(crate) async fn client(&self, namespace: &str) -> Client {
        let connection = eventually("a connection", async || Connection::connect(self.connection()).await.ok()).await;
        let client = Client::new(connection, ClientOptions::new(namespace).build()).unwrap();
        if namespace == "default" {
            eventually("the namespace and its search attributes", async || {
                let query = "TicketKey = 'none' AND Stage = 'none' AND RequestedBy = 'none'";
                count_query(&client, query).await
            })
            .await;
        }
        client
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < WAIT_TIMEOUT, "{what} did not come within {WAIT_TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many runs a workflow id ever had, as soon as visibility knows `expected` of them.
pub(crate) async fn runs(client: &Client, workflow_id: &str, expected: i64) -> i64 {
    let query = format!("WorkflowId = '{workflow_id}'");
    eventually("the runs", async || count_query(client, &query).await.filter(|count| *count >= expected)).await
}

async fn count_query(client: &Client, query: &str) -> Option<i64> {
    let request =
        CountWorkflowExecutionsRequest { namespace: client.options().namespace.clone(), query: query.to_owned() };
    Some(client.clone().count_workflow_executions(request.into_request()).await.ok()?.into_inner().count)
}

/// Ends the running run from outside.
pub(crate) async fn terminate(client: &Client, workflow_id: &str) {
    let request = TerminateWorkflowExecutionRequest {
        namespace: client.options().namespace.clone(),
        workflow_execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() }),
        reason: "test".into(),
        ..Default::default()
    };
    client.clone().terminate_workflow_execution(request.into_request()).await.unwrap();
}

/// The latest run's history.
pub(crate) async fn history(client: &Client, workflow_id: &str) -> Vec<HistoryEvent> {
    let request = GetWorkflowExecutionHistoryRequest {
        namespace: client.options().namespace.clone(),
        execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() }),
        ..Default::default()
    };
    let answer = client.clone().get_workflow_execution_history(request.into_request()).await.unwrap();
    answer.into_inner().history.unwrap_or_default().events
}

/// Names and JSON inputs of the signals the latest run has got.
pub(crate) async fn signals(client: &Client, workflow_id: &str) -> Vec<(String, serde_json::Value)> {
    use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
    let events = history(client, workflow_id).await;
    let signalled = events.into_iter().filter_map(|event| match event.attributes {
        Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)) => Some(signal),
        _ => None,
    });
    signalled
        .map(|signal| {
            let payload = signal.input.unwrap().payloads.remove(0);
            assert_eq!(payload.metadata["encoding"], b"json/plain");
            (signal.signal_name, serde_json::from_slice(&payload.data).unwrap())
        })
        .collect()
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}
